//! The memory of all zygotes of a server, kept within a budget.
//!
//! A zygote costs nothing but memory while its app has no work, and it can be made anew. So when all of them together
//! hold more than they may, the one that has not been needed for the longest time is ended, if its app has nothing in
//! work. The next worker that is needed makes it anew: that takes the time of an import, and nothing else.
//!
//! A zygote's memory is measured once, when it has imported its app: it runs nothing, so it does not grow, and its
//! share only shrinks as workers are forked from it.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::pool::{Inner as PoolInner, Pool};

/// While there is too much and nobody can be ended, it is tried again so often: nobody tells when work has ended.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The zygotes of all pools that were made with it. Cheap to clone.
#[derive(Clone, Default)]
pub struct Zygotes(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// In bytes; none: no bound.
    budget: Option<u64>,
    pools: Mutex<Vec<Weak<PoolInner>>>,
    changed: Notify,
}

/// A zygote that is there.
pub(crate) struct Held {
    /// Its proportional share of the memory, when it was made.
    pub(crate) bytes: u64,
    /// When a worker was forked from it, or it was made.
    pub(crate) used_at: Instant,
}

impl Zygotes {
    /// `budget`: bytes that all zygotes together may hold.
    pub fn within(budget: u64) -> Self {
        Self(Arc::new(Inner { budget: Some(budget), ..Inner::default() }))
    }

    pub(crate) fn add(&self, pool: &Arc<PoolInner>) {
        if self.0.budget.is_none() {
            return;
        }
        let mut pools = self.0.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|known| known.strong_count() > 0);
        pools.push(Arc::downgrade(pool));
    }

    /// A zygote was made.
    pub(crate) fn tell(&self) {
        self.0.changed.notify_one();
    }

    /// Keeps to the budget, for ever.
    pub async fn supervise(self) {
        let Some(budget) = self.0.budget else { return };
        loop {
            let changed = self.0.changed.notified();
            if self.trim(budget) <= budget {
                changed.await;
            } else {
                tokio::time::timeout(LOOK_AGAIN, changed).await.ok();
            }
        }
    }

    /// Ends zygotes until the rest is within the budget, or all others are needed. Answers what the rest holds.
    fn trim(&self, budget: u64) -> u64 {
        let pools: Vec<Pool> = {
            let pools = self.0.pools.lock().unwrap_or_else(PoisonError::into_inner);
            pools.iter().filter_map(Weak::upgrade).map(Pool).collect()
        };
        let held = |pool: Pool| Some((pool.0.nursery.held()?, pool));
        let mut held: Vec<(Held, Pool)> = pools.into_iter().filter_map(held).collect();
        let mut sum: u64 = held.iter().map(|(held, _)| held.bytes).sum();
        held.sort_by_key(|(held, _)| held.used_at);
        for (held, pool) in held {
            if sum <= budget {
                break;
            }
            if pool.let_zygote_go() {
                sum = sum.saturating_sub(held.bytes);
                let app = pool.0.options.app.root.display();
                tracing::debug!(%app, bytes = held.bytes, "the zygote was ended: all of them held too much memory");
            }
        }
        sum
    }
}

impl Pool {
    /// Ends the zygote if the app has no work in hand. The next worker that is needed makes it anew.
    fn let_zygote_go(&self) -> bool {
        let is_busy = {
            let state = self.state();
            state.stopping || state.workers.iter().any(|worker| worker.state().in_work > 0)
        };
        !is_busy && self.0.waits.count() == 0 && self.0.nursery.let_go()
    }

    /// Keeps the zygote whatever memory it holds: the app's files are not those any more that it has imported.
    pub fn pin_zygote(&self) {
        self.0.nursery.pin();
    }
}
