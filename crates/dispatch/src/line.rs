//! Who waits for one of a few places, and who is next.
//!
//! In the order in which they came, as long as that works. When there is more work than can be done for some time, that
//! order is the worst: everybody waits for as long as callers are patient, and then gets an answer that nobody awaits any
//! more. So once the first in line has waited for longer than a burst takes, the newest is next, which is answered in
//! time. The others are served when there is room again, or told no when their time is over. (Adaptive LIFO, as in
//! "Fail at Scale", B. Maurer, ACM Queue 13(8), 2015.)

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

/// How long the first in line waits in a burst that can be worked off in the order in which it came, at most.
const BURST_MAX: Duration = Duration::from_secs(2);
/// It is this part of the time for which callers wait, if that is less.
const BURST_PART: u32 = 4;

/// Who is next when there is more work than can be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crowded {
    /// Whoever came last, as somebody waits for the answer. It is crowded when the first in line has waited for longer
    /// than this.
    NewestNext(Duration),
    /// Whoever came first: what waits is kept by its source, and nobody is impatient.
    OldestNext,
}

impl Crowded {
    /// For callers who wait so long at most.
    pub fn of_callers(wait_max: Duration) -> Self {
        Self::NewestNext(BURST_MAX.min(wait_max / BURST_PART))
    }
}

/// Places, and the line before them. Cheap to clone.
#[derive(Clone)]
pub struct Line(Arc<Inner>);

struct Inner {
    crowded: Crowded,
    state: Mutex<State>,
}

struct State {
    free: usize,
    /// In the order in which they came, so by their numbers.
    waiting: VecDeque<Waiter>,
    next_number: u64,
}

struct Waiter {
    number: u64,
    since: Instant,
    turn: oneshot::Sender<Place>,
}

/// A place, given back when dropped.
pub struct Place(Option<Line>);

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(line) = self.0.take() {
            line.pass_on();
        }
    }
}

impl Line {
    pub fn new(places: usize, crowded: Crowded) -> Self {
        let state = State { free: places, waiting: VecDeque::new(), next_number: 0 };
        Self(Arc::new(Inner { crowded, state: Mutex::new(state) }))
    }

    /// A place if one is free, which means that nobody waits.
    pub fn try_take(&self) -> Option<Place> {
        self.state().take().then(|| Place(Some(self.clone())))
    }

    /// A place; `None`: there was none until `deadline`. May be dropped at any time. `since`: when the waiting began,
    /// which may have been in another line.
    pub async fn take(&self, since: Instant, deadline: Instant) -> Option<Place> {
        let (turn, mine) = oneshot::channel();
        let _in_line = {
            let mut state = self.state();
            if state.take() {
                return Some(Place(Some(self.clone())));
            }
            let number = state.next_number;
            state.next_number += 1;
            state.waiting.push_back(Waiter { number, since, turn });
            InLine { line: self, number }
        };
        tokio::time::timeout_at(deadline, mine).await.ok()?.ok()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a place to whoever is next; outside of the lock, as a place that nobody takes comes back here.
    fn pass_on(self) {
        let mut place = Place(None);
        loop {
            let next = {
                let mut state = self.state();
                let next = state.next(self.0.crowded);
                if next.is_none() {
                    state.free += 1;
                }
                next
            };
            let Some(next) = next else { return };
            place.0 = Some(self.clone());
            match next.turn.send(place) {
                Ok(()) => return,
                Err(refused) => {
                    // Whoever was next has just gone.
                    place = refused;
                    place.0 = None;
                }
            }
        }
    }
}

impl State {
    fn take(&mut self) -> bool {
        let rest = self.free.checked_sub(1);
        self.free = rest.unwrap_or(0);
        rest.is_some()
    }

    fn next(&mut self, crowded: Crowded) -> Option<Waiter> {
        let waited = self.waiting.front()?.since.elapsed();
        match crowded {
            Crowded::NewestNext(burst) if waited > burst => self.waiting.pop_back(),
            _ => self.waiting.pop_front(),
        }
    }
}

/// Somebody in line, who leaves it when this is dropped.
struct InLine<'a> {
    line: &'a Line,
    number: u64,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        let mut state = self.line.state();
        if let Ok(position) = state.waiting.binary_search_by_key(&self.number, |waiter| waiter.number) {
            state.waiting.remove(position);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;
    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// One place, and a newcomer at each of these seconds, each of whom keeps the place for so long and waits for 30
    /// seconds at most. Who got it, in order, and who did not.
    async fn check(crowded: Crowded, newcomers: &[u32], keep: Duration) -> (Vec<u32>, Vec<u32>) {
        let line = Line::new(1, crowded);
        let order = Arc::new(Mutex::new((Vec::new(), Vec::new())));
        let mut all = JoinSet::new();
        for &second in newcomers {
            let (line, order) = (line.clone(), order.clone());
            all.spawn(async move {
                sleep(second * SECOND).await;
                let since = Instant::now();
                match line.take(since, since + 30 * SECOND).await {
                    Some(_place) => {
                        order.lock().unwrap().0.push(second);
                        sleep(keep).await;
                    }
                    None => order.lock().unwrap().1.push(second),
                }
            });
        }
        all.join_all().await;
        let state = line.state();
        assert_eq!((state.free, state.waiting.len()), (1, 0), "nothing is left behind");
        drop(state);
        Arc::into_inner(order).unwrap().into_inner().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_moves_is_served_in_its_order() {
        let few = [0, 1, 2, 3];
        let kept = Duration::from_millis(1100);
        assert_eq!(check(Crowded::of_callers(30 * SECOND), &few, kept).await, (few.to_vec(), vec![]));
        assert_eq!(check(Crowded::OldestNext, &few, 5 * SECOND).await, (few.to_vec(), vec![]));
    }

    /// T-079: who comes when there is far too much to do is served in time, and right after it everybody is.
    #[tokio::test(start_paused = true)]
    async fn t_079_in_a_crowd_the_newest_is_next_and_the_others_when_there_is_room() {
        let (served, refused) =
            check(Crowded::of_callers(30 * SECOND), &(0..=60).collect::<Vec<_>>(), 4 * SECOND + SECOND / 2)
                .await;
        assert_eq!(served[..6], [0, 4, 9, 13, 18, 22], "those that have just come");
        assert!(refused.contains(&1) && !refused.contains(&60), "{refused:?}");
        let (served, _) =
            check(Crowded::OldestNext, &(0..=60).collect::<Vec<_>>(), 4 * SECOND + SECOND / 2).await;
        assert_eq!(served[..6], [0, 1, 2, 3, 4, 5], "in the order of their source");
    }

    #[test]
    fn callers_who_wait_for_less_make_a_crowd_earlier() {
        let check = |wait_max: u64, burst_ms| {
            let burst = Duration::from_millis(burst_ms);
            assert_eq!(Crowded::of_callers(Duration::from_secs(wait_max)), Crowded::NewestNext(burst));
        };
        check(30, 2000);
        check(8, 2000);
        check(2, 500);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_outlives_those_who_leave() {
        let line = Line::new(1, Crowded::of_callers(30 * SECOND));
        let now = Instant::now();
        let first = line.take(now, now + SECOND).await.unwrap();
        let mut gone: Vec<_> = (0..10_000).map(|_| Box::pin(line.take(now, now + 60 * SECOND))).collect();
        for waiting in &mut gone {
            assert!(poll_once(waiting.as_mut()).await.is_none());
        }
        // Half of them leave before their turn, the others when they have it and do not know it yet.
        gone.truncate(5000);
        drop(first);
        drop(gone);
        assert!(line.take(now, now + SECOND).await.is_some());
        let state = line.state();
        assert_eq!((state.free, state.waiting.len()), (1, 0));
    }

    /// What a future is ready with at once.
    async fn poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(match future.as_mut().poll(context) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
