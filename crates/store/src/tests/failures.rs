//! What the store does when the machine fails: T-065, T-071, T-072.

use std::sync::Mutex;

use ingle_types::faults::Fault;

use super::*;

/// Fails once at `point`, after it has been armed.
fn fault_at(point: &'static str) -> (Faults, Arc<Mutex<bool>>) {
    let armed = Arc::new(Mutex::new(false));
    let hook = {
        let armed = armed.clone();
        move |here: &'static str| {
            if here == point && std::mem::take(&mut *armed.lock().unwrap()) {
                Fault::Fail
            } else {
                Fault::None
            }
        }
    };
    (Faults::hook(hook), armed)
}

/// A commit fails at `point`: what the caller is told, whether the next commit goes through, and what is there
/// after the next open.
async fn check(point: &'static str, code: &str, next: Result<(), &str>, kept: &str) {
    let (faults, armed) = fault_at(point);
    let fixture = Fixture::with(faults);
    fixture.send("orders", &["a"]).await;
    *armed.lock().unwrap() = true;
    let large = Operation::Enqueue(NewMessage::new("orders", "b".repeat(70_000)));
    let error = fixture.store.commit(vec![large]).await.unwrap_err();
    assert_eq!(error.code(), code, "{point}: {error}");
    let found = fixture.store.commit(vec![Operation::Enqueue(NewMessage::new("orders", "c"))]).await;
    assert_eq!(found.map_err(|error| error.code()), next, "{point}");
    assert_eq!(fixture.store.queues().await.unwrap().len(), 1, "{point}: reading goes on");
    let fixture = fixture.reopen();
    let messages = fixture.lease("orders", 9).await;
    let found: Vec<_> = messages.iter().map(|message| text(&message.body)[..1].to_owned()).collect();
    assert_eq!(found.join(" "), kept, "{point}");
    assert_eq!(fixture.blob_count().await, kept.matches('b').count(), "{point}: garbage is swept");
}

#[tokio::test]
async fn t_071_a_failed_commit_is_never_acknowledged() {
    check("store.blob.written", "E0406", Ok(()), "a c").await;
    check("store.commit.before", "E0406", Ok(()), "a c").await;
    // It is on disk, but nobody may rely on it: nothing more is written until the next open has looked.
    check("store.commit.after", "E0406", Err("E0407"), "a b").await;
}

#[tokio::test]
async fn t_065_a_failed_lease_gives_no_message_away() {
    for (point, now) in [("store.lease.before", "a1"), ("store.lease.after", "")] {
        let (faults, armed) = fault_at(point);
        let fixture = Fixture::with(faults);
        fixture.send("orders", &["a"]).await;
        *armed.lock().unwrap() = true;
        assert_eq!(fixture.store.lease_messages("orders", 1, MINUTE).await.unwrap_err().code(), "E0406");
        assert_eq!(fixture.deliver("orders").await, now, "{point}");
        fixture.clock.advance(MINUTE);
        assert_eq!(fixture.deliver("orders").await, "a2", "{point}: it comes back when the lease ends");
    }
}

#[tokio::test]
async fn t_071_a_full_disk_refuses_clearly_and_goes_on_when_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(start()));
    let store = Store::open_limited(Options::new(directory.path()), clock, Faults::none(), Some(40)).unwrap();
    let mut acknowledged = 0;
    let error = loop {
        let message = Operation::Enqueue(NewMessage::new("orders", vec![b'x'; 4000]));
        match store.commit(vec![message]).await {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 40, "the limit has no effect");
    };
    assert_eq!(error.code(), "E0403", "{error}");
    let leased = store.lease_messages("orders", 100, MINUTE).await.unwrap();
    assert_eq!(leased.len(), acknowledged);
    store.commit(leased.iter().map(delete).collect()).await.unwrap();
    store.commit(vec![Operation::Enqueue(NewMessage::new("orders", "room"))]).await.unwrap();
    assert_eq!(show(&store.lease_messages("orders", 9, MINUTE).await.unwrap()), "room1");
}

/// T-050: what apps have given to the server can't be read by other users of the machine.
#[tokio::test]
async fn t_050_a_directory_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("state/store");
    let store = Store::open(Options::new(&directory), Arc::new(ManualClock::at(start())), Faults::none());
    let mode = std::fs::metadata(&directory).unwrap().permissions().mode();
    drop(store.unwrap());
    assert_eq!(mode & 0o777, 0o700);
}

#[tokio::test]
async fn a_directory_has_one_owner() {
    let fixture = Fixture::new();
    let options = Options::new(fixture.directory.path());
    let error = Store::open(options.clone(), fixture.clock.clone(), Faults::none()).unwrap_err();
    assert_eq!(error.code(), "E0401");
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    fixture.store.close().await;
    let again = Store::open(options, fixture.clock.clone(), Faults::none()).unwrap();
    again.queues().await.unwrap();
    assert_eq!(fixture.store.commit(vec![]).await.map_err(|error| error.code()), Ok(()));
    assert_eq!(fixture.store.queues().await.unwrap_err().code(), "E0408");
    let message = Operation::Enqueue(NewMessage::new("orders", "x"));
    assert_eq!(fixture.store.commit(vec![message]).await.unwrap_err().code(), "E0408");
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_left_alone() {
    let fixture = Fixture::new();
    fixture.send("orders", &["a"]).await;
    fixture.store.close().await;
    let path = fixture.directory.path().join("ingle.db");
    let version = |version: i64| {
        let connection = rusqlite::Connection::open(&path).unwrap();
        let before: i64 = connection.query_row("PRAGMA user_version", (), |row| row.get(0)).unwrap();
        connection.pragma_update(None, "user_version", version).unwrap();
        before
    };
    let known = version(99);
    let before = std::fs::read(&path).unwrap();
    let options = Options::new(fixture.directory.path());
    let error = Store::open(options, fixture.clock.clone(), Faults::none()).unwrap_err();
    assert_eq!(error.code(), "E0404", "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    version(known);
    assert_eq!(fixture.reopen().deliver("orders").await, "a1");
}

/// T-072: both a file that is no database and a damaged page are found at open, and nothing is changed.
#[tokio::test]
async fn t_072_damage_is_found_at_open() {
    for damage_at in [0, 4096 * 3] {
        let fixture = Fixture::new();
        let many: Vec<String> =
            (0..200).map(|number| format!("message {number} {}", "x".repeat(500))).collect();
        fixture.send("orders", &many.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let Fixture { store, clock, directory } = fixture;
        drop(store);
        let path = directory.path().join("ingle.db");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[damage_at..damage_at + 64].fill(0xA5);
        std::fs::write(&path, &bytes).unwrap();
        let error = Store::open(Options::new(directory.path()), clock, Faults::none()).unwrap_err();
        assert_eq!(error.code(), "E0405", "{damage_at}: {error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("blobs")), "says what is kept");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}

#[tokio::test]
async fn one_bad_job_does_not_disturb_its_group() {
    let fixture = Fixture::new();
    let receipt = MessageLease {
        queue: "orders".into(),
        message_id: "00000000-0000-4000-8000-000000000000".into(),
        pop_receipt: "1-1".into(),
    };
    let jobs = (0..200).map(|number| {
        let message = Operation::Enqueue(NewMessage::new("orders", format!("{number}")));
        let bad = Operation::DeleteMessage(receipt.clone());
        fixture.store.commit(if number % 3 == 0 { vec![message, bad] } else { vec![message] })
    });
    let answers = join_all(jobs.collect()).await;
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(answer.is_ok(), number % 3 != 0, "{number}: {answer:?}");
    }
    assert_eq!(fixture.lease("orders", 1000).await.len(), 133);
}

/// Polls all of them in turn until each is done.
async fn join_all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *output = Some(value);
            }
        }
        if outputs.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}
