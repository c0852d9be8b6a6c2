//! Checkpoints: compare-and-set, together with other operations, across restarts.

use super::*;

fn save(consumer: &str, follows: u64, value: &str) -> Operation {
    Operation::SaveCheckpoint { consumer: consumer.to_owned(), follows, value: value.to_owned() }
}

impl Fixture {
    /// `version:value` of each, by name.
    async fn checkpoints(&self, prefix: &str) -> String {
        let found = self.store.checkpoints(prefix).await.unwrap();
        let word = |named: NamedCheckpoint| {
            format!("{}={}:{}", named.consumer, named.checkpoint.version, named.checkpoint.value)
        };
        found.into_iter().map(word).collect::<Vec<_>>().join(" ")
    }
}

#[tokio::test]
async fn a_checkpoint_moves_only_from_the_version_that_is_stored() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    assert_eq!(store.read_checkpoint("timer/a").await.unwrap(), None);
    store.commit(vec![save("timer/a", 0, "1"), save("feed/b", 0, "x")]).await.unwrap();
    fixture.clock.advance(MINUTE);
    store.commit(vec![save("timer/a", 1, "2")]).await.unwrap();
    for stale in [0, 1, 3, u64::MAX] {
        let error = store.commit(vec![save("timer/a", stale, "9")]).await.unwrap_err();
        assert_eq!(error.code(), "E0416", "{stale}: {error}");
    }
    let error = store.commit(vec![save("timer/none", 1, "9")]).await.unwrap_err();
    assert!(matches!(error, Error::CheckpointMoved { follows: 1, .. }), "{error:?}");
    let read = store.read_checkpoint("timer/a").await.unwrap();
    let expected = Checkpoint { version: 2, updated_at: start() + MINUTE, value: "2".to_owned() };
    assert_eq!(read, Some(expected));
    assert_eq!(fixture.checkpoints("timer/").await, "timer/a=2:2");
    assert_eq!(fixture.checkpoints("").await, "feed/b=1:x timer/a=2:2");
}

/// T-069: outputs and "this occurrence is done" are one commit, so a second owner writes nothing.
#[tokio::test]
async fn what_is_committed_with_a_stale_checkpoint_is_not_done() {
    let fixture = Fixture::new();
    let output = |body: &str| Operation::Enqueue(NewMessage::new("orders", body.to_owned()));
    fixture.store.commit(vec![output("first"), save("timer/a", 0, "1")]).await.unwrap();
    fixture.store.commit(vec![output("second"), save("timer/a", 0, "1")]).await.unwrap_err();
    assert_eq!(fixture.deliver("orders").await, "first1");
}

#[tokio::test]
async fn checkpoints_outlive_the_process_until_everything_is_reset() {
    let fixture = Fixture::new();
    fixture.store.commit(vec![save("timer/a", 0, "1")]).await.unwrap();
    let fixture = fixture.reopen();
    assert_eq!(fixture.checkpoints("").await, "timer/a=1:1");
    fixture.store.reset(Reset::Queue("timer/a".to_owned())).await.unwrap();
    assert_eq!(fixture.checkpoints("").await, "timer/a=1:1");
    fixture.store.reset(Reset::All).await.unwrap();
    assert_eq!(fixture.checkpoints("").await, "");
}
