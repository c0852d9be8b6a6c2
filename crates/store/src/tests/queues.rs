//! Queues: order, leases, delays, poison, wake-ups.

use std::future::Future as _;
use std::task::{Context, Waker};

use super::*;

#[tokio::test]
async fn messages_come_in_the_order_of_insertion_and_carry_what_they_were_given() {
    let fixture = Fixture::new();
    fixture.send("orders", &["a", "b"]).await;
    let message = NewMessage {
        hop_count: 3,
        trace_parent: "00-ab-cd-01".into(),
        time_to_live: Some(MINUTE),
        id: Some(uuid::Uuid::from_u128(7)),
        ..NewMessage::new("orders", "c")
    };
    fixture.store.commit(vec![Operation::Enqueue(message)]).await.unwrap();
    fixture.send("other", &["x"]).await;
    let leased = fixture.lease("orders", 2).await;
    assert_eq!(show(&leased), "a1 b1");
    let last = fixture.lease("orders", 5).await.remove(0);
    assert_eq!(
        (text(&last.body).as_str(), last.hop_count, last.trace_parent.as_str()),
        ("c", 3, "00-ab-cd-01")
    );
    assert_eq!(last.lease.message_id, "00000000-0000-0000-0000-000000000007");
    assert_ne!(leased[0].lease.message_id, leased[1].lease.message_id);
    assert_eq!(
        (last.inserted_at, last.expires_at, last.next_visible_at),
        (start(), start() + MINUTE, start() + MINUTE)
    );
    assert!(leased[0].expires_at > start() + 7_000 * 365 * 24 * 60 * MINUTE, "it waits for ever");
    assert_eq!(fixture.deliver("orders").await, "");
    assert_eq!(fixture.deliver("unknown").await, "");
}

#[tokio::test]
async fn a_released_message_is_the_first_again() {
    let fixture = Fixture::new();
    fixture.send("orders", &["a", "b", "c"]).await;
    let leased = fixture.lease("orders", 2).await;
    fixture.store.commit(vec![release(&leased[0], Duration::ZERO, true)]).await.unwrap();
    assert_eq!(fixture.deliver("orders").await, "a2 c1");
    fixture.store.commit(vec![release(&leased[1], Duration::ZERO, false)]).await.unwrap();
    assert_eq!(fixture.deliver("orders").await, "b1");
}

#[tokio::test]
async fn delays_and_leases_end_by_the_clock() {
    let fixture = Fixture::new();
    let delayed = NewMessage { visible_after: 10 * SECOND, ..NewMessage::new("orders", "late") };
    fixture.store.commit(vec![Operation::Enqueue(delayed)]).await.unwrap();
    fixture.send("orders", &["now"]).await;
    assert_eq!(fixture.store.next_visible_at("orders").await.unwrap(), Some(start() + 10 * SECOND));
    assert_eq!(fixture.deliver("orders").await, "now1");
    fixture.clock.advance(10 * SECOND - Duration::from_millis(1));
    assert_eq!(fixture.deliver("orders").await, "");
    fixture.clock.advance(Duration::from_millis(1));
    assert_eq!(fixture.deliver("orders").await, "late1");
    fixture.clock.advance(MINUTE);
    assert_eq!(fixture.deliver("orders").await, "late2 now2");
}

#[tokio::test]
async fn an_expired_message_is_dropped() {
    let fixture = Fixture::new();
    let short = NewMessage { time_to_live: Some(SECOND), ..NewMessage::new("orders", "x".repeat(100_000)) };
    let long = NewMessage { time_to_live: Some(Duration::MAX), ..NewMessage::new("orders", "for ever") };
    fixture.store.commit(vec![Operation::Enqueue(short), Operation::Enqueue(long)]).await.unwrap();
    assert_eq!(fixture.blob_count().await, 1);
    fixture.clock.advance(100 * 365 * 24 * 60 * MINUTE);
    assert_eq!(show(&fixture.lease("orders", 1).await), "for ever1");
    assert_eq!(fixture.blob_count().await, 0);
}

/// T-068: whoever was paused past the end of its lease can't finish what somebody else holds now.
#[tokio::test]
async fn t_068_a_late_receipt_takes_the_whole_commit_back() {
    let fixture = Fixture::new();
    fixture.send("orders", &["a"]).await;
    let paused = fixture.lease("orders", 1).await.remove(0);
    fixture.clock.advance(MINUTE);
    let current = fixture.lease("orders", 1).await.remove(0);
    let container = ContainerName::new("shop", "orders");
    for finish in [delete(&paused), release(&paused, Duration::ZERO, true), poison(&paused, "late")] {
        let effect = Operation::UpsertDocument {
            container: container.clone(),
            body: serde_json::json!({"id": "1"}),
            partition_key_path: None,
            hop_count: 0,
        };
        let next = Operation::Enqueue(NewMessage::new("next", "n"));
        let error = fixture.store.commit(vec![effect, next, finish]).await.unwrap_err();
        assert_eq!(error.code(), "E0402", "{error}");
    }
    assert_eq!(fixture.store.extend_lease(&paused.lease, MINUTE).await.unwrap_err().code(), "E0402");
    assert_eq!(fixture.store.read_document(&container, "1", None).await.unwrap(), None);
    assert_eq!(fixture.deliver("next").await, "");
    fixture.store.commit(vec![delete(&current)]).await.unwrap();
    assert_eq!(fixture.store.commit(vec![delete(&current)]).await.unwrap_err().code(), "E0402");
}

#[tokio::test]
async fn a_lease_that_ran_out_still_finishes_if_nobody_took_the_message() {
    let fixture = Fixture::new();
    fixture.send("orders", &["a", "b"]).await;
    let leased = fixture.lease("orders", 1).await.remove(0);
    fixture.clock.advance(2 * MINUTE);
    fixture.store.commit(vec![delete(&leased)]).await.unwrap();
    assert_eq!(fixture.deliver("orders").await, "b1");
}

#[tokio::test]
async fn an_extended_lease_lasts_longer() {
    let fixture = Fixture::new();
    fixture.send("orders", &["a"]).await;
    let leased = fixture.lease("orders", 1).await.remove(0);
    fixture.clock.advance(30 * SECOND);
    fixture.store.extend_lease(&leased.lease, MINUTE).await.unwrap();
    fixture.clock.advance(59 * SECOND);
    assert_eq!(fixture.deliver("orders").await, "");
    fixture.clock.advance(SECOND);
    assert_eq!(fixture.deliver("orders").await, "a2");
}

/// T-061: a message that is given up on keeps everything that explains it.
#[tokio::test]
async fn t_061_a_poisoned_message_moves_whole() {
    let fixture = Fixture::new();
    let large = "x".repeat(100_000);
    fixture.send("orders", &[&large, "b"]).await;
    let first = fixture.lease("orders", 1).await.remove(0);
    fixture.store.commit(vec![release(&first, Duration::ZERO, true)]).await.unwrap();
    let second = fixture.lease("orders", 1).await.remove(0);
    fixture.store.commit(vec![poison(&second, "ValueError: bad")]).await.unwrap();
    assert_eq!(fixture.deliver("orders").await, "b1");
    fixture.clock.advance(365 * 24 * 60 * MINUTE);
    let peeked = fixture.store.peek_messages("orders-poison", 5).await.unwrap().remove(0);
    let expect = Poison { reason: "ValueError: bad".into(), queue: "orders".into(), attempts: 2 };
    assert_eq!(peeked.poison, Some(expect));
    assert_eq!((peeked.message_id, text(&peeked.body)), (second.lease.message_id.clone(), large.clone()));
    assert_eq!(fixture.deliver("orders-poison").await, format!("{large}1"));
}

#[tokio::test]
async fn a_restart_voids_leases_without_counting_them_but_not_for_ever() {
    let mut fixture = Fixture::new();
    fixture.send("orders", &["a"]).await;
    let before = fixture.lease("orders", 1).await.remove(0);
    fixture = fixture.reopen();
    assert_eq!(fixture.store.commit(vec![delete(&before)]).await.unwrap_err().code(), "E0402");
    for _ in 1..10 {
        assert_eq!(fixture.deliver("orders").await, "a1");
        fixture = fixture.reopen();
    }
    // The eleventh loss counts.
    assert_eq!(fixture.deliver("orders").await, "a1");
    fixture = fixture.reopen();
    assert_eq!(fixture.deliver("orders").await, "a2");
    fixture = fixture.reopen();
    assert_eq!(fixture.deliver("orders").await, "a3");
}

#[tokio::test]
async fn an_orderly_end_gives_leases_back_and_forgets_no_number() {
    let mut fixture = Fixture::new();
    for _ in 0..12 {
        fixture.send("orders", &["a"]).await;
        let leased = fixture.lease("orders", 1).await;
        assert_eq!(show(&leased), "a1");
        fixture.store.close().await;
        fixture = fixture.reopen();
        let again = fixture.lease("orders", 9).await;
        assert_eq!(show(&again), "a1");
        assert_eq!(fixture.store.commit(vec![delete(&leased[0])]).await.unwrap_err().code(), "E0402");
        fixture.store.commit(vec![delete(&again[0])]).await.unwrap();
    }
}

#[tokio::test]
async fn large_bodies_are_files_that_live_as_long_as_a_message_refers_to_them() {
    let fixture = Fixture::new();
    let large = "x".repeat(70_000);
    fixture.send("orders", &[&large, &large, "small"]).await;
    assert_eq!(fixture.blob_count().await, 1);
    let fixture = fixture.reopen();
    let leased = fixture.lease("orders", 3).await;
    assert_eq!(show(&leased), format!("{large}1 {large}1 small1"));
    fixture.store.commit(vec![delete(&leased[0])]).await.unwrap();
    assert_eq!(fixture.blob_count().await, 1);
    fixture.store.commit(vec![delete(&leased[1])]).await.unwrap();
    assert_eq!(fixture.blob_count().await, 0);
}

#[tokio::test]
async fn a_watch_misses_nothing_between_two_calls() {
    let fixture = Fixture::new();
    let mut watch = fixture.store.watch_queue("orders");
    assert!(!is_ready(&mut watch), "nothing has happened");
    fixture.send("other", &["x"]).await;
    assert!(!is_ready(&mut watch), "another queue");
    fixture.send("orders", &["a"]).await;
    fixture.send("orders", &["b"]).await;
    assert!(is_ready(&mut watch), "it changed while nobody waited");
    assert!(!is_ready(&mut watch), "both changes were seen");
    let leased = fixture.lease("orders", 2).await;
    assert!(!is_ready(&mut watch), "leasing adds nothing");
    let delay = Operation::Enqueue(NewMessage { visible_after: SECOND, ..NewMessage::new("orders", "late") });
    fixture.store.commit(vec![delay]).await.unwrap();
    assert!(is_ready(&mut watch), "the timer has to be set anew");
    fixture.store.commit(vec![release(&leased[0], Duration::ZERO, true)]).await.unwrap();
    assert!(is_ready(&mut watch), "released");
    let mut dead_letters = fixture.store.watch_queue("orders-poison");
    fixture.store.commit(vec![poison(&leased[1], "bad")]).await.unwrap();
    assert!(is_ready(&mut dead_letters), "a dead letter came");
}

fn is_ready(watch: &mut QueueWatch) -> bool {
    let changed = std::pin::pin!(watch.changed());
    changed.poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[tokio::test]
async fn the_overview_counts_by_state() {
    let fixture = Fixture::new();
    fixture.send("b", &["1", "2", "3"]).await;
    fixture.send("a", &["1"]).await;
    fixture.lease("b", 1).await;
    fixture.clock.advance(SECOND);
    let late = Operation::Enqueue(NewMessage { visible_after: SECOND, ..NewMessage::new("b", "4") });
    fixture.store.commit(vec![late]).await.unwrap();
    let done = fixture.lease("a", 1).await.remove(0);
    fixture.store.commit(vec![delete(&done)]).await.unwrap();
    let summary = |name: &str, ready, leased, delayed, oldest| QueueSummary {
        name: name.to_owned(),
        ready,
        leased,
        delayed,
        oldest,
    };
    let queues = fixture.store.queues().await.unwrap();
    assert_eq!(queues, [summary("a", 0, 0, 0, None), summary("b", 2, 1, 1, Some(start()))]);
    fixture.clock.advance(SECOND);
    let queues = fixture.store.queues().await.unwrap();
    assert_eq!(queues[1], summary("b", 3, 1, 0, Some(start())));
    let peeked = fixture.store.peek_messages("b", 3).await.unwrap();
    let bodies: Vec<_> = peeked.iter().map(|message| (text(&message.body), message.state)).collect();
    let expect = [("2", MessageState::Ready), ("3", MessageState::Ready), ("4", MessageState::Ready)];
    assert_eq!(bodies, expect.map(|(body, state)| (body.to_owned(), state)));
}

#[tokio::test]
async fn a_reset_removes_what_it_names() {
    let fixture = Fixture::new();
    let large = "x".repeat(70_000);
    fixture.send("a", &["1", &large]).await;
    fixture.send("b", &["2"]).await;
    let leased = fixture.lease("a", 1).await.remove(0);
    let report = fixture.store.reset(Reset::Queue("a".into())).await.unwrap();
    assert_eq!(report, ResetReport { messages: 2, documents: 0, ..ResetReport::default() });
    assert_eq!(fixture.store.commit(vec![delete(&leased)]).await.unwrap_err().code(), "E0402");
    fixture.send("a", &["3"]).await;
    assert_eq!(fixture.blob_count().await, 0);
    assert_eq!((fixture.deliver("a").await, fixture.deliver("b").await), ("31".into(), "21".into()));
    let report = fixture.store.reset(Reset::All).await.unwrap();
    assert_eq!(report, ResetReport { messages: 2, documents: 0, ..ResetReport::default() });
    assert_eq!(fixture.store.queues().await.unwrap(), []);
}

fn grouped(group: &str, body: &str) -> NewMessage {
    NewMessage { group: Some(group.to_owned()), ..NewMessage::new("orders", body.to_owned()) }
}

#[tokio::test]
async fn messages_of_a_group_wait_for_those_before_them() {
    let fixture = Fixture::new();
    let messages = [("a", "a1"), ("b", "b1"), ("a", "a2"), ("b", "b2"), ("a", "a3")];
    fixture.store.send(messages.map(|(group, body)| grouped(group, body)).to_vec()).await.unwrap();
    fixture.send("orders", &["free"]).await;
    // Several of a group may come together, and then it waits.
    let leased = fixture.lease("orders", 3).await;
    assert_eq!(show(&leased), "a11 b11 a21");
    assert_eq!(leased[2].group.as_deref(), Some("a"));
    assert!(leased[0].sequence < leased[1].sequence && leased[1].sequence < leased[2].sequence);
    assert_eq!(fixture.deliver("orders").await, "free1");
    let done = |index: usize| Operation::DeleteMessage(leased[index].lease.clone());
    // One that is done tells who waits, but the other one is leased still.
    let mut watch = fixture.store.watch_queue("orders");
    fixture.store.commit(vec![done(0)]).await.unwrap();
    watch.changed().await;
    assert_eq!(fixture.deliver("orders").await, "");
    fixture.store.commit(vec![done(1)]).await.unwrap();
    assert_eq!(fixture.deliver("orders").await, "b21");
    // One that is tried again later keeps the others waiting until then.
    fixture.store.commit(vec![release(&leased[2], 10 * SECOND, true)]).await.unwrap();
    assert_eq!(fixture.deliver("orders").await, "");
    fixture.clock.advance(10 * SECOND);
    assert_eq!(show(&fixture.lease("orders", 9).await), "a22 a31");
}

#[tokio::test]
async fn a_group_goes_on_when_its_message_is_given_up_on_or_its_lease_has_ended() {
    let fixture = Fixture::new();
    fixture.store.send(vec![grouped("a", "1"), grouped("a", "2"), grouped("a", "3")]).await.unwrap();
    let leased = fixture.lease("orders", 1).await;
    let poison = Operation::PoisonMessage {
        lease: leased[0].lease.clone(),
        poison_queue: "orders-poison".to_owned(),
        reason: "no".to_owned(),
    };
    let mut watch = fixture.store.watch_queue("orders");
    fixture.store.commit(vec![poison]).await.unwrap();
    watch.changed().await;
    assert_eq!(show(&fixture.lease("orders", 1).await), "21");
    fixture.clock.advance(2 * MINUTE);
    assert_eq!(show(&fixture.lease("orders", 9).await), "22 31");
}

/// However many wait, what nothing keeps back is found: of other groups and of none.
#[tokio::test]
async fn a_long_group_that_waits_hides_nobody_behind_it() {
    let fixture = Fixture::new();
    fixture.store.send((0..1200).map(|_| grouped("a", "a")).collect()).await.unwrap();
    fixture.store.send(["c", "b", "b", "c"].map(|group| grouped(group, group)).to_vec()).await.unwrap();
    fixture.send("orders", &["free", "free"]).await;
    let held = fixture.lease("orders", 2).await;
    assert_eq!(show(&held), "a1 a1");
    // Of each group the first, in the order in which they came.
    let others = fixture.lease("orders", 9).await;
    assert_eq!(show(&others), "c1 b1 free1 free1");
    assert_eq!(show(&fixture.lease("orders", 9).await), "");
    let done = |leased: &LeasedMessage| Operation::DeleteMessage(leased.lease.clone());
    fixture.store.commit(others[..2].iter().map(done).collect()).await.unwrap();
    assert_eq!(show(&fixture.lease("orders", 9).await), "b1 c1");
    fixture.store.commit(held.iter().map(done).collect()).await.unwrap();
    assert_eq!(show(&fixture.lease("orders", 3).await), "a1 a1 a1");
}

#[tokio::test]
async fn a_holder_says_when_a_message_comes_again() {
    let fixture = Fixture::new();
    fixture.send("orders", &["soup"]).await;
    let leased = fixture.lease("orders", 1).await;
    let lease = &leased[0].lease;
    fixture.store.choose_visibility(lease, MINUTE).await.unwrap();
    // Whoever waits for the work keeps it meanwhile, and gives it back with a delay of its own.
    fixture.store.extend_lease(lease, 2 * MINUTE).await.unwrap();
    fixture.store.commit(vec![release(&leased[0], SECOND, true)]).await.unwrap();
    fixture.clock.advance(30 * SECOND);
    assert_eq!(fixture.deliver("orders").await, "");
    fixture.clock.advance(30 * SECOND);
    let leased = fixture.lease("orders", 1).await;
    assert_eq!(show(&leased), "soup2");
    // It was about that time only. What was wanted long ago is there at once.
    fixture.store.commit(vec![release(&leased[0], SECOND, true)]).await.unwrap();
    assert_eq!(fixture.deliver("orders").await, "");
    fixture.clock.advance(SECOND);
    let leased = fixture.lease("orders", 1).await;
    fixture.store.choose_visibility(&leased[0].lease, SECOND).await.unwrap();
    fixture.store.extend_lease(&leased[0].lease, 2 * MINUTE).await.unwrap();
    fixture.clock.advance(MINUTE);
    fixture.store.commit(vec![release(&leased[0], MINUTE, true)]).await.unwrap();
    assert_eq!(fixture.deliver("orders").await, "soup4");
}

#[tokio::test]
async fn a_message_is_put_in_once_within_its_time() {
    let fixture = Fixture::new();
    let once = |id: &str, body: &str| NewMessage {
        once: Some(Once { id: id.to_owned(), within: 5 * MINUTE }),
        ..NewMessage::new("orders", body.to_owned())
    };
    // Also within one commit, and also a large one, whose file is not kept.
    let large = "x".repeat(1 << 20);
    let sent = fixture.store.send(vec![once("a", "1"), once("b", "2"), once("a", &large)]).await.unwrap();
    assert_eq!((sent.len(), sent[0] == sent[2], sent[0] == sent[1]), (3, true, false));
    let leased = fixture.lease("orders", 9).await;
    assert_eq!(show(&leased), "11 21");
    assert_eq!(leased[0].lease.message_id, sent[0].message_id.to_string());
    assert_eq!(leased[0].sequence, sent[0].sequence);
    fixture.store.commit(vec![Operation::DeleteMessage(leased[0].lease.clone())]).await.unwrap();
    // It counts from the first one on, also when that is done.
    fixture.clock.advance(4 * MINUTE);
    assert_eq!(fixture.store.send(vec![once("a", "3")]).await.unwrap(), [sent[0]]);
    fixture.clock.advance(MINUTE);
    assert_ne!(fixture.store.send(vec![once("a", "4")]).await.unwrap(), [sent[0]]);
    // A queue that was removed has had nothing.
    fixture.store.reset(Reset::Queue("orders".to_owned())).await.unwrap();
    fixture.store.send(vec![once("a", "5")]).await.unwrap();
    assert_eq!(show(&fixture.lease("orders", 9).await), "51");
}
