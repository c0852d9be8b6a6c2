//! Random operations on the store and on a list in memory give the same answers.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Action {
    Send { delay: u64, large: bool },
    Lease(u32),
    Finish(usize),
    Release { which: usize, delay: u64, counts: bool },
    Poison(usize),
    Extend(usize),
    Advance(u64),
    Reopen { cleanly: bool },
}

fn action() -> impl Strategy<Value = Action> {
    let delay = prop_oneof![3 => Just(0_u64), 1 => 1..90_u64];
    prop_oneof![
        4 => (delay.clone(), any::<bool>()).prop_map(|(delay, large)| Action::Send { delay, large }),
        4 => (1..4_u32).prop_map(Action::Lease),
        3 => any::<usize>().prop_map(Action::Finish),
        2 => (any::<usize>(), delay, any::<bool>())
            .prop_map(|(which, delay, counts)| Action::Release { which, delay, counts }),
        1 => any::<usize>().prop_map(Action::Poison),
        1 => any::<usize>().prop_map(Action::Extend),
        2 => (1..70_u64).prop_map(Action::Advance),
        1 => any::<bool>().prop_map(|cleanly| Action::Reopen { cleanly }),
    ]
}

#[derive(Clone, Debug)]
struct ModelMessage {
    body: String,
    visible_at: u64,
    is_leased: bool,
    /// Number of leases so far, with the place of the last one among all receipts.
    receipt: Option<usize>,
    dequeue_count: u32,
    lost: u32,
}

/// Queue `q` in insertion order, and `q-poison`.
#[derive(Default)]
struct Model {
    now: u64,
    messages: Vec<ModelMessage>,
    poisoned: Vec<String>,
    receipts: usize,
}

impl Model {
    fn send(&mut self, body: String, delay: u64) {
        let visible_at = self.now + delay;
        let message =
            ModelMessage { body, visible_at, is_leased: false, receipt: None, dequeue_count: 0, lost: 0 };
        self.messages.push(message);
    }

    fn lease(&mut self, count: u32) -> Vec<(String, u32)> {
        let (now, receipts) = (self.now, &mut self.receipts);
        let due = self.messages.iter_mut().filter(|message| message.visible_at <= now);
        due.take(count as usize)
            .map(|message| {
                message.visible_at = now + 60;
                message.is_leased = true;
                message.receipt = Some(*receipts);
                *receipts += 1;
                message.dequeue_count += 1;
                (message.body.clone(), message.dequeue_count)
            })
            .collect()
    }

    fn holder(&mut self, receipt: usize) -> Option<usize> {
        self.messages.iter().position(|message| message.receipt == Some(receipt))
    }

    fn reopen(&mut self, cleanly: bool) {
        let now = self.now;
        for message in &mut self.messages {
            // A lease that ran out is void in the same way: the store learns of it when somebody asks.
            if message.is_leased {
                message.is_leased = false;
                message.receipt = None;
                message.visible_at = message.visible_at.min(now);
                if cleanly || message.lost < 10 {
                    message.dequeue_count -= 1;
                }
                message.lost += u32::from(!cleanly);
            }
        }
    }
}

struct Both {
    fixture: Fixture,
    model: Model,
    leases: Vec<MessageLease>,
    sent: usize,
}

impl Both {
    async fn act(&mut self, action: &Action) -> Result<(), TestCaseError> {
        match *action {
            Action::Send { delay, large } => {
                self.sent += 1;
                let body = format!("{}{}", self.sent, if large { "x".repeat(65_536) } else { String::new() });
                let message = NewMessage {
                    visible_after: Duration::from_secs(delay),
                    ..NewMessage::new("q", body.clone())
                };
                self.fixture.store.commit(vec![Operation::Enqueue(message)]).await.unwrap();
                self.model.send(body, delay);
            }
            Action::Lease(count) => {
                // Whoever asks learns of leases that have run out: they are plain waiting messages then.
                let now = self.model.now;
                for message in self.model.messages.iter_mut().filter(|message| message.visible_at <= now) {
                    message.is_leased = false;
                }
                let leased = self.fixture.lease("q", count).await;
                self.leases.extend(leased.iter().map(|message| message.lease.clone()));
                let found: Vec<_> = leased.iter().map(|one| (text(&one.body), one.dequeue_count)).collect();
                prop_assert_eq!(found, self.model.lease(count));
            }
            Action::Finish(which) => {
                let index = self.finish(which, Operation::DeleteMessage).await?;
                index.map(|index| self.model.messages.remove(index));
            }
            Action::Release { which, delay, counts } => {
                let operation = |lease| Operation::ReleaseMessage {
                    lease,
                    visible_after: Duration::from_secs(delay),
                    counts,
                };
                if let Some(index) = self.finish(which, operation).await? {
                    let message = &mut self.model.messages[index];
                    message.receipt = None;
                    message.is_leased = false;
                    message.visible_at = self.model.now + delay;
                    message.dequeue_count -= u32::from(!counts);
                }
            }
            Action::Poison(which) => {
                let operation = |lease| Operation::PoisonMessage {
                    lease,
                    poison_queue: "q-poison".into(),
                    reason: "bad".into(),
                };
                if let Some(index) = self.finish(which, operation).await? {
                    let message = self.model.messages.remove(index);
                    self.model.poisoned.push(message.body);
                }
            }
            Action::Extend(which) => {
                let Some(receipt) = which.checked_rem(self.leases.len()) else { return Ok(()) };
                let found = self.fixture.store.extend_lease(&self.leases[receipt], MINUTE).await;
                let holder = self.model.holder(receipt);
                prop_assert_eq!(found.is_ok(), holder.is_some());
                if let Some(index) = holder {
                    self.model.messages[index].visible_at = self.model.now + 60;
                    self.model.messages[index].is_leased = true;
                }
            }
            Action::Advance(seconds) => {
                self.fixture.clock.advance(Duration::from_secs(seconds));
                self.model.now += seconds;
            }
            Action::Reopen { .. } => {}
        }
        Ok(())
    }

    /// Uses one of the receipts so far, current or not; the place of its message in the model if it is current.
    async fn finish(
        &self,
        which: usize,
        operation: impl Fn(MessageLease) -> Operation,
    ) -> Result<Option<usize>, TestCaseError> {
        let Some(receipt) = which.checked_rem(self.leases.len()) else { return Ok(None) };
        let found = self.fixture.store.commit(vec![operation(self.leases[receipt].clone())]).await;
        let holder = self.model.messages.iter().position(|message| message.receipt == Some(receipt));
        prop_assert_eq!(found.is_ok(), holder.is_some(), "{:?}", found);
        Ok(holder)
    }

    async fn end(self) -> Result<(), TestCaseError> {
        let mut states: HashMap<String, u32> = HashMap::new();
        for message in self.fixture.store.peek_messages("q", 1000).await.unwrap() {
            states.insert(text(&message.body), message.dequeue_count);
        }
        let expect =
            self.model.messages.iter().map(|message| (message.body.clone(), message.dequeue_count)).collect();
        prop_assert_eq!(states, expect);
        let poisoned = self.fixture.store.peek_messages("q-poison", 1000).await.unwrap();
        let poisoned: Vec<_> = poisoned.iter().map(|message| text(&message.body)).collect();
        prop_assert_eq!(poisoned, self.model.poisoned);
        Ok(())
    }
}

async fn run(actions: Vec<Action>) -> Result<(), TestCaseError> {
    let mut both = Both { fixture: Fixture::new(), model: Model::default(), leases: Vec::new(), sent: 0 };
    for action in &actions {
        if let Action::Reopen { cleanly } = *action {
            if cleanly {
                both.fixture.store.close().await;
            }
            both.fixture = both.fixture.reopen();
            both.model.reopen(cleanly);
        } else {
            both.act(action).await?;
        }
    }
    both.end().await
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_store_behaves_like_a_list(actions in prop::collection::vec(action(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(actions))?;
    }
}
