//! A clock that stands still until it is moved, and knows who waits for which time on it.
//!
//! With it a server becomes a simulation of discrete events: whoever moves the clock goes from one awaited time to the
//! next and lets the work of each come to its end before. So a day passes in as many steps as something happens in it.
//! In between, new work is held back: what a test does and what an app does because of it never happen at once.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use super::Clock;

/// Cheap to clone: all clones are the same clock.
#[derive(Clone, Debug)]
pub struct MovedClock(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    now: SystemTime,
    next_number: u64,
    waits: BTreeMap<(SystemTime, u64), Waiter>,
    /// How many let work begin now.
    letting: usize,
    held_back: Vec<Waker>,
}

#[derive(Debug)]
struct Waiter {
    waker: Waker,
    rests: Option<String>,
}

impl Clock for MovedClock {
    fn now(&self) -> SystemTime {
        self.state().now
    }

    fn moved(&self) -> Option<&MovedClock> {
        Some(self)
    }
}

impl MovedClock {
    pub fn at(time: SystemTime) -> Self {
        let (waits, held_back) = (BTreeMap::new(), Vec::new());
        Self(Arc::new(Mutex::new(State { now: time, next_number: 0, waits, letting: 0, held_back })))
    }

    /// Moves to `time`, also backwards, and wakes those who waited for a time up to it.
    pub fn set(&self, time: SystemTime) {
        let due: Vec<Waker> = {
            let mut state = self.state();
            state.now = time;
            state.waits.range(..=(time, u64::MAX)).map(|(_, waiter)| waiter.waker.clone()).collect()
        };
        // Outside the lock: a waker may run anything.
        due.into_iter().for_each(Waker::wake);
    }

    /// The earliest time after now that somebody waits for.
    pub fn next_awaited(&self) -> Option<SystemTime> {
        let state = self.state();
        state.waits.keys().map(|(time, _)| *time).find(|time| *time > state.now)
    }

    /// Ends when the clock shows `time` or more.
    pub fn until(&self, time: SystemTime) -> Until {
        Until { clock: self.clone(), time, rests: None, number: None }
    }

    /// As [`Self::until`], for work that has begun and does nothing before that time. `source` says where its event
    /// came from; see [`Self::resting`].
    pub fn rest_until(&self, time: SystemTime, source: &str) -> Until {
        let mut wait = self.until(time);
        wait.rests = Some(source.to_owned());
        wait
    }

    /// The sources of the work that rests until a later time.
    pub fn resting(&self) -> Vec<String> {
        let state = self.state();
        let later = state.waits.iter().filter(|((time, _), _)| *time > state.now);
        later.filter_map(|(_, waiter)| waiter.rests.clone()).collect()
    }

    /// Lets work begin, for as long as the guard lives.
    pub fn let_work(&self) -> Letting {
        let held_back = {
            let mut state = self.state();
            state.letting += 1;
            std::mem::take(&mut state.held_back)
        };
        held_back.into_iter().for_each(Waker::wake);
        Letting(self.clone())
    }

    /// Ends when work may begin.
    pub fn may_work(&self) -> impl Future<Output = ()> + Send + use<> {
        let clock = self.clone();
        std::future::poll_fn(move |context| {
            let mut state = clock.state();
            if state.letting > 0 {
                return Poll::Ready(());
            }
            state.held_back.push(context.waker().clone());
            Poll::Pending
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets work begin while it lives.
#[derive(Debug)]
pub struct Letting(MovedClock);

impl Drop for Letting {
    fn drop(&mut self) {
        self.0.state().letting -= 1;
    }
}

/// Waits for a time of a [`MovedClock`].
#[derive(Debug)]
pub struct Until {
    clock: MovedClock,
    time: SystemTime,
    rests: Option<String>,
    number: Option<u64>,
}

impl Future for Until {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.clone();
        let mut state = clock.state();
        if state.now >= self.time {
            return Poll::Ready(());
        }
        let number = *self.number.get_or_insert_with(|| {
            state.next_number += 1;
            state.next_number
        });
        let waiter = Waiter { waker: context.waker().clone(), rests: self.rests.clone() };
        state.waits.insert((self.time, number), waiter);
        Poll::Pending
    }
}

impl Drop for Until {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.clock.state().waits.remove(&(self.time, number));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn second(count: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(count)
    }

    #[test]
    fn those_who_wait_are_woken_at_their_time() {
        let clock = MovedClock::at(second(100));
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut context = Context::from_waker(&waker);
        let (mut early, mut late) = (pin!(clock.until(second(110))), pin!(clock.until(second(120))));
        assert!(early.as_mut().poll(&mut context).is_pending());
        assert!(late.as_mut().poll(&mut context).is_pending());
        assert_eq!(clock.next_awaited(), Some(second(110)));
        clock.set(second(109));
        assert_eq!(woken.0.load(Ordering::SeqCst), 0);
        clock.set(second(110));
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(early.as_mut().poll(&mut context).is_ready());
        assert!(late.as_mut().poll(&mut context).is_pending());
        assert_eq!(clock.next_awaited(), Some(second(120)));
    }

    #[test]
    fn who_gives_up_is_forgotten() {
        let clock = MovedClock::at(second(0));
        let mut context = Context::from_waker(Waker::noop());
        {
            let mut given_up = pin!(clock.until(second(1)));
            assert!(given_up.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!(clock.next_awaited(), None);
        assert!(pin!(clock.until(second(0))).poll(&mut context).is_ready());
    }

    #[test]
    fn work_begins_only_while_somebody_lets_it() {
        let clock = MovedClock::at(second(0));
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut context = Context::from_waker(&waker);
        let mut waiting = pin!(clock.may_work());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        let letting = clock.let_work();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(waiting.as_mut().poll(&mut context).is_ready());
        drop(letting);
        assert!(pin!(clock.may_work()).poll(&mut context).is_pending());
    }

    #[test]
    fn work_rests_until_its_time_has_come() {
        let clock = MovedClock::at(second(0));
        let mut context = Context::from_waker(Waker::noop());
        let mut rest = pin!(clock.rest_until(second(5), "queue orders"));
        assert!(rest.as_mut().poll(&mut context).is_pending());
        assert_eq!(clock.resting(), ["queue orders"]);
        // Woken but not polled yet: it is at work.
        clock.set(second(5));
        assert!(clock.resting().is_empty());
        clock.set(second(0));
        assert_eq!(clock.resting(), ["queue orders"]);
    }
}
