//! Whose turn it is: a timer never overlaps itself, also not across the generations of an app.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::{Mutex as Turn, OwnedMutexGuard, watch};

/// Which timers are in work. Cheap to clone; shared by listeners that follow each other.
#[derive(Clone, Default)]
pub struct Board(Arc<Shared>);

#[derive(Default)]
struct Shared {
    turns: Mutex<HashMap<String, Arc<Turn<()>>>>,
    seats: Mutex<Seats>,
    /// Whether nothing is started, whatever is due.
    paused: watch::Sender<bool>,
}

#[derive(Default)]
struct Seats {
    next_number: u64,
    /// What each listener has told last; `None` while it still reads where its timers are.
    told: HashMap<u64, Option<Told>>,
}

struct Told {
    next: Option<SystemTime>,
    in_work: usize,
}

impl Board {
    /// Waits until nobody else runs this timer.
    pub(super) async fn turn(&self, consumer: &str) -> OwnedMutexGuard<()> {
        let turn = self.turns().entry(consumer.to_owned()).or_default().clone();
        turn.lock_owned().await
    }

    /// Occurrences in work, and listeners that have something to start at `now`.
    pub fn busy(&self, now: SystemTime) -> usize {
        let seats = self.seats();
        let busy = |told: &Option<Told>| match told {
            None => 1,
            Some(told) => told.in_work + usize::from(told.next.is_some_and(|next| next <= now)),
        };
        seats.told.values().map(busy).sum()
    }

    /// From now on nothing is started until this is taken back; what passes meanwhile is late then.
    pub fn pause(&self, is_paused: bool) {
        self.0.paused.send_replace(is_paused);
    }

    pub fn is_paused(&self) -> bool {
        *self.0.paused.borrow()
    }

    pub(super) fn pauses(&self) -> watch::Receiver<bool> {
        self.0.paused.subscribe()
    }

    /// A place for a listener that begins.
    pub(super) fn seat(&self) -> Seat {
        let mut seats = self.seats();
        seats.next_number += 1;
        let number = seats.next_number;
        seats.told.insert(number, None);
        Seat { board: self.clone(), number }
    }

    fn turns(&self) -> MutexGuard<'_, HashMap<String, Arc<Turn<()>>>> {
        self.0.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.0.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a listener tells how it stands, until it ends.
pub(super) struct Seat {
    board: Board,
    number: u64,
}

impl Seat {
    /// `next`: when it looks at a timer again. `in_work`: occurrences that were started and are not over.
    pub(super) fn tell(&self, next: Option<SystemTime>, in_work: usize) {
        self.board.seats().told.insert(self.number, Some(Told { next, in_work }));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.board.seats().told.remove(&self.number);
    }
}

impl std::fmt::Debug for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Board")
    }
}
