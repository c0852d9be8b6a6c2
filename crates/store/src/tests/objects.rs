//! Objects: put, read, list, delete, told to readers, and what a crash leaves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use ingle_types::faults::Fault;
use ingle_types::local_file::LocalFile;

use super::*;

const LARGE: usize = 3 * 1024 * 1024 + 17;

fn put(name: &str, content: impl Into<Bytes>) -> Operation {
    Operation::PutObject(PutObject::new("images", name, content.into()))
}

async fn staged(store: &Store, size: usize) -> ObjectContent {
    let mut writer = store.stage_object();
    let piece = vec![7; 100_000];
    let mut left = size;
    while left > 0 {
        let count = left.min(piece.len());
        writer.write(&piece[..count]).await.unwrap();
        left -= count;
    }
    assert_eq!(writer.size(), u64::try_from(size).unwrap());
    writer.finish().await.unwrap()
}

impl Fixture {
    async fn put(&self, name: &str, content: &str) {
        self.store.commit(vec![put(name, content.to_owned())]).await.unwrap();
    }

    async fn object(&self, name: &str) -> Option<Object> {
        self.store.read_object("images", name).await.unwrap()
    }

    async fn content(&self, name: &str) -> Option<Bytes> {
        Some(self.object(name).await?.content.read_all().await.unwrap())
    }

    async fn names(&self, prefix: &str) -> String {
        let found = self.store.list_objects("images", prefix, "", 100).await.unwrap();
        found.iter().map(|info| info.name.as_str()).collect::<Vec<_>>().join(" ")
    }
}

#[tokio::test]
async fn an_object_is_replaced_as_a_whole() {
    let fixture = Fixture::new();
    assert!(fixture.object("a").await.is_none());
    fixture.put("a", "first").await;
    let first = fixture.object("a").await.unwrap();
    assert_eq!((first.info.size, first.info.content_type.as_str()), (5, CONTENT_TYPE_DEFAULT));
    assert_eq!(first.info.updated_at, start());
    let large = PutObject {
        content_type: "image/png".to_owned(),
        metadata: BTreeMap::from([("by".to_owned(), "Ann".to_owned())]),
        ..PutObject::new("images", "a", staged(&fixture.store, LARGE).await)
    };
    fixture.store.commit(vec![Operation::PutObject(large)]).await.unwrap();
    let mut second = fixture.object("a").await.unwrap();
    assert_ne!(first.info.etag, second.info.etag);
    assert_eq!(second.info.size, u64::try_from(LARGE).unwrap());
    assert_eq!(
        (second.info.content_type.as_str(), second.info.metadata["by"].as_str()),
        ("image/png", "Ann")
    );
    // What was opened before stays what it was; also a file that is replaced while it is read.
    assert_eq!(first.content.read_all().await.unwrap(), "first");
    let begun = second.content.next().await.unwrap().unwrap();
    fixture.put("a", "third").await;
    assert_eq!(fixture.blob_count().await, 0);
    let mut length = begun.len();
    while let Some(piece) = second.content.next().await.unwrap() {
        assert!(piece.len() <= 256 * 1024 && piece.iter().all(|byte| *byte == 7));
        length += piece.len();
    }
    assert_eq!(length, LARGE);
    assert_eq!(fixture.content("a").await.unwrap(), "third");
    // The same content again is a new version all the same.
    let before = fixture.object("a").await.unwrap().info.etag;
    fixture.put("a", "third").await;
    assert_ne!(fixture.object("a").await.unwrap().info.etag, before);
}

#[tokio::test]
async fn a_part_is_read_from_where_it_begins() {
    let fixture = Fixture::new();
    let text = |size: usize| "all the letters ".repeat(size).get(..size).unwrap().to_owned();
    for size in [10, 600_000] {
        let whole = text(size);
        fixture.put("a", &whole).await;
        for range in [0..0, 0..4, 3..7, 5..size, size..size + 5, 2..usize::MAX, size + 9..size + 10] {
            let expected = &whole[range.start.min(size)..range.end.min(size)];
            let wanted = u64::try_from(range.start).unwrap()..u64::try_from(range.end).unwrap();
            let part = fixture.object("a").await.unwrap().content.part(wanted.clone());
            assert_eq!(part.read_all().await.unwrap(), expected, "{range:?}");
            let mut part = fixture.object("a").await.unwrap().content.part(wanted);
            let mut found = Vec::new();
            while let Some(piece) = part.next().await.unwrap() {
                found.extend_from_slice(&piece);
            }
            assert!(found == expected.as_bytes(), "{range:?}");
        }
        // Of a part, a part.
        let part = fixture.object("a").await.unwrap().content.part(2..8).part(1..9);
        assert_eq!(part.read_all().await.unwrap(), &whole[3..8]);
    }
}

#[tokio::test]
async fn one_file_serves_objects_and_messages_of_one_content() {
    let fixture = Fixture::new();
    let body = "x".repeat(100_000);
    fixture.put("a", &body).await;
    fixture.put("b", &body).await;
    fixture.send("q", &[&body]).await;
    assert_eq!(fixture.blob_count().await, 1);
    let delete = |name: &str| Operation::DeleteObject(DeleteObject::new("images", name));
    fixture.store.commit(vec![delete("a"), delete("nobody")]).await.unwrap();
    let message = fixture.lease("q", 1).await.remove(0);
    fixture.store.commit(vec![super::delete(&message)]).await.unwrap();
    assert_eq!(fixture.blob_count().await, 1);
    assert_eq!(fixture.content("b").await.unwrap(), body);
    let fixture = fixture.reopen();
    assert_eq!(fixture.content("b").await.unwrap(), body);
    let report = fixture.store.reset(Reset::Objects("images".into())).await.unwrap();
    assert_eq!((report.objects, fixture.blob_count().await), (1, 0));
    assert_eq!(fixture.store.object_containers().await.unwrap(), []);
}

#[tokio::test]
async fn listing_goes_by_prefix_and_page() {
    let fixture = Fixture::new();
    for name in ["b", "a/2", "a/1", "a", "ä/☃", "a%", "A", "a/\u{10ffff}x"] {
        fixture.put(name, "x").await;
    }
    assert_eq!(fixture.names("").await, "A a a% a/1 a/2 a/\u{10ffff}x b ä/☃");
    assert_eq!(fixture.names("a/1").await, "a/1");
    assert_eq!(fixture.names("a%").await, "a%");
    assert_eq!(fixture.names("ä").await, "ä/☃");
    let page = fixture.store.list_objects("images", "a", "a%", 2).await.unwrap();
    assert_eq!(page.iter().map(|info| info.name.as_str()).collect::<Vec<_>>(), ["a/1", "a/2"]);
    let summary = fixture.store.object_containers().await.unwrap().remove(0);
    assert_eq!((summary.name.as_str(), summary.objects, summary.bytes), ("images", 8, 8));
    assert_eq!(fixture.store.list_objects("nothing", "", "", 9).await.unwrap(), []);
}

/// T-026: a name never leads anywhere; what can be no name is refused, and nothing is done.
#[tokio::test]
async fn t_026_names_with_tricks_stay_names() {
    let fixture = Fixture::new();
    let long = "x".repeat(1024);
    let names =
        ["..", "../../../../tmp/evil", "/etc/passwd", "a\\..\\b", "CON", "a//b", "snow☃", long.as_str()];
    for name in names {
        fixture.put(name, name).await;
        let large = "y".repeat(70_000 + name.len());
        fixture.put(&format!("{name}L").chars().take(1024).collect::<String>(), &large).await;
        assert_eq!(
            fixture.content(name).await.unwrap().len(),
            if name == long { large.len() } else { name.len() }
        );
    }
    for (container, name) in
        [("images", "a\0b"), ("images", ""), ("..", "a"), ("a/b", "c"), ("images", &"x".repeat(1025))]
    {
        let operation = Operation::PutObject(PutObject::new(container, name, Bytes::from_static(b"x")));
        let error = fixture.store.commit(vec![put("good", "x"), operation]).await.unwrap_err();
        assert_eq!(error.code(), "E0420", "{container}/{name}");
    }
    assert!(fixture.object("good").await.is_none());
    let inside: Vec<String> = std::fs::read_dir(fixture.directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with("ingle.db"))
        .collect();
    assert!(
        inside.iter().all(|name| ["blobs", "lock", "handed", "spool"].contains(&name.as_str())),
        "{inside:?}"
    );
}

#[tokio::test]
async fn what_is_staged_and_not_committed_leaves_nothing() {
    let fixture = Fixture::new();
    assert!(matches!(staged(&fixture.store, 10).await, ObjectContent::Bytes(_)));
    let content = staged(&fixture.store, LARGE).await;
    assert_eq!(fixture.blob_count().await, 1);
    drop(content);
    assert_eq!(fixture.blob_count().await, 0);
    let mut half = fixture.store.stage_object();
    half.write(&vec![1; LARGE]).await.unwrap();
    drop(half);
    assert_eq!(fixture.blob_count().await, 0);
    // A commit that fails takes the file back too.
    fixture.send("q", &["m"]).await;
    let lost = super::delete(&fixture.lease("q", 1).await[0]);
    fixture.store.reset(Reset::Queue("q".into())).await.unwrap();
    let object = PutObject::new("images", "a", staged(&fixture.store, LARGE).await);
    let error = fixture.store.commit(vec![Operation::PutObject(object), lost]).await.unwrap_err();
    assert_eq!((error.code(), fixture.blob_count().await), ("E0402", 0));
    assert!(fixture.object("a").await.is_none());
}

/// Whatever ends it: a name that is none, a lease that is lost, a caller that goes away, a disk that is full.
#[tokio::test]
async fn what_is_not_done_leaves_no_file() {
    let fixture = Fixture::new();
    let large = |name: &str, byte: u8| put(name, vec![byte; LARGE]);
    for operations in [vec![large("a\tb", 1)], vec![large("good", 1), large("a\tb", 2)]] {
        let error = fixture.store.commit(operations).await.unwrap_err();
        assert_eq!((error.code(), fixture.blob_count().await), ("E0420", 0));
    }
    let lost = LocalFile::new(fixture.store.spool_folder().join("nobody"), 5, None);
    let gone =
        PutObject { content: ObjectContent::File(lost), ..PutObject::new("images", "b", Bytes::new()) };
    let error = fixture.store.commit(vec![large("good", 1), Operation::PutObject(gone)]).await.unwrap_err();
    assert_eq!((error.code(), fixture.blob_count().await), ("E0406", 0));
    assert!(fixture.object("good").await.is_none());
    // A caller that goes away while its file is written: it is done, or there is no file.
    for _ in 0..3 {
        let begun = fixture.store.commit(vec![large("given-up", 3)]);
        tokio::time::timeout(Duration::from_millis(1), begun).await.ok();
    }
    fixture.store.commit(vec![large("other", 3)]).await.unwrap();
    let delete = |name: &str| Operation::DeleteObject(DeleteObject::new("images", name));
    fixture.store.commit(vec![delete("other"), delete("given-up")]).await.unwrap();
    // The thread that still writes for who has gone may be the last to let go.
    let mut looks = 0;
    while fixture.blob_count().await > 0 {
        looks += 1;
        assert!(looks < 10_000, "a file stays");
    }
}

#[tokio::test]
async fn a_full_disk_gets_back_what_filled_it() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(start()));
    let store =
        Store::open_limited(Options::new(directory.path()), clock.clone(), Faults::none(), Some(40)).unwrap();
    let fixture = Fixture { store, clock, directory };
    let small = (0..90).map(|number| put(&number.to_string(), vec![7; 2000]));
    let operations = [put("large", vec![7; LARGE])].into_iter().chain(small).collect();
    let error = fixture.store.commit(operations).await.unwrap_err();
    assert_eq!((error.code(), fixture.blob_count().await), ("E0403", 0));
}

#[tokio::test]
async fn a_commit_is_done_if_objects_are_what_they_have_to_be() {
    use ObjectCondition::{Absent, Present, Tagged};
    let fixture = Fixture::new();
    let put_if = async |is: ObjectCondition| {
        let require = Operation::RequireObject { container: "images".into(), name: "a".into(), is };
        match fixture.store.put_objects(vec![require, put("a", "x"), put("b", "x")]).await {
            Ok(mut tags) => Ok(tags.swap_remove(0)),
            Err(Error::ObjectCondition { exists, .. }) => Err(exists),
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(put_if(Present).await, Err(false));
    assert_eq!(put_if(Tagged("\"x\"".to_owned())).await, Err(false));
    assert!(fixture.object("b").await.is_none(), "all or nothing");
    let first = put_if(Absent).await.unwrap();
    assert_eq!(fixture.object("a").await.unwrap().info.etag, first);
    assert_eq!(put_if(Absent).await, Err(true));
    let second = put_if(Present).await.unwrap();
    assert_eq!(put_if(Tagged(first)).await, Err(true));
    put_if(Tagged(second)).await.unwrap();
    // One that came in parts says so in its tag.
    let whole = PutObject {
        origin: ObjectOrigin::Upload { part_count: 3 },
        headers: BTreeMap::from([("cache-control".to_owned(), "no-store".to_owned())]),
        ..PutObject::new("images", "a", Bytes::from("x"))
    };
    let tag = fixture.store.put_objects(vec![Operation::PutObject(whole)]).await.unwrap().remove(0);
    let found = fixture.object("a").await.unwrap().info;
    assert_eq!((&found.etag, &*found.headers["cache-control"]), (&tag, "no-store"));
    assert!(tag.ends_with("-3\""), "{tag}");
    put_if(Tagged(tag)).await.unwrap();
    assert!(!fixture.object("a").await.unwrap().info.etag.contains('-'));
}

#[tokio::test]
async fn all_objects_of_a_prefix_go_at_once() {
    let fixture = Fixture::new();
    for name in ["a/1", "a/2", "a", "b/1"] {
        fixture.put(name, "x").await;
    }
    let below = Operation::DeleteObjects { container: "images".into(), prefix: "a/".into() };
    // Also what is put in the same commit.
    fixture.store.commit(vec![put("a/3", "x"), below]).await.unwrap();
    assert_eq!(fixture.names("").await, "a b/1");
}

/// A file of somebody else becomes an object: moved inside the store's file system, copied from another.
#[tokio::test]
async fn a_file_is_taken_over() {
    let fixture = Fixture::new();
    let other = std::path::Path::new("/dev/shm");
    let elsewhere = other.is_dir().then(|| tempfile::tempdir_in(other).unwrap());
    let folders =
        [fixture.store.spool_folder()].into_iter().chain(elsewhere.as_ref().map(|folder| folder.path()));
    for (number, folder) in folders.enumerate() {
        for size in [LARGE, 0] {
            let path = folder.join("output");
            std::fs::write(&path, vec![u8::try_from(number).unwrap(); size]).unwrap();
            let file = LocalFile::new(path, u64::try_from(size).unwrap(), None);
            let object = PutObject {
                content: ObjectContent::File(file),
                ..PutObject::new("images", "a", Bytes::new())
            };
            fixture.store.commit(vec![Operation::PutObject(object)]).await.unwrap();
            let found = fixture.object("a").await.unwrap();
            assert_eq!(found.info.size, u64::try_from(size).unwrap());
            let content = found.content.read_all().await.unwrap();
            assert!(content.len() == size && content.iter().all(|byte| usize::from(*byte) == number));
        }
    }
    assert_eq!(std::fs::read_dir(fixture.store.spool_folder()).unwrap().count(), 0);
    let lost = LocalFile::new(fixture.store.spool_folder().join("nobody"), 5, None);
    let object =
        PutObject { content: ObjectContent::File(lost), ..PutObject::new("images", "b", Bytes::new()) };
    fixture.store.commit(vec![Operation::PutObject(object)]).await.unwrap_err();
    assert!(fixture.object("b").await.is_none());
}

/// T-065: an end at any point leaves the old content or the new one, and no file that nobody refers to.
#[tokio::test]
async fn t_065_an_end_between_staging_and_commit_is_swept() {
    for point in ["store.object.staged", "store.blob.written", "store.commit.before", "store.commit.after"] {
        let armed = Arc::new(AtomicBool::new(false));
        let fixture = Fixture::with(Faults::hook({
            let armed = armed.clone();
            move |here| if here == point && armed.load(Ordering::Relaxed) { Fault::Fail } else { Fault::None }
        }));
        fixture.put("a", "old").await;
        armed.store(true, Ordering::Relaxed);
        let mut writer = fixture.store.stage_object();
        writer.write(&vec![7; LARGE]).await.unwrap();
        // What a killed server leaves: the folder with everything in it.
        let done = match writer.finish().await {
            Ok(content) => {
                let object = PutObject::new("images", "a", content.clone());
                let done = fixture.store.commit(vec![Operation::PutObject(object)]).await;
                std::mem::forget(content);
                done
            }
            Err(error) => Err(error),
        };
        assert!(done.is_err(), "{point}");
        let fixture = fixture.reopen();
        let content = fixture.content("a").await.unwrap();
        let is_new = content.len() == LARGE;
        assert!(is_new || content == "old", "{point}");
        assert_eq!(is_new, point == "store.commit.after", "{point}");
        assert_eq!(fixture.blob_count().await, usize::from(is_new), "{point}");
    }
}

/// A reader of text files, with its own queue.
fn hook(queue: &'static str) -> ObjectHook {
    ObjectHook::new(move |change| {
        change.name.ends_with(".txt").then(|| NewMessage {
            hop_count: change.hop_count + 1,
            trace_parent: change.trace_parent.to_owned(),
            ..NewMessage::new(queue, format!("{}/{} ", change.container, change.name))
        })
    })
}

#[tokio::test]
async fn a_reader_hears_of_each_removal_once_and_of_whose_work_it_was() {
    let fixture = Fixture::new();
    fixture.put("a.txt", "1").await;
    // Two rules of one reader, and another reader.
    let watches = ["reader", "reader", "other"]
        .map(|queue| fixture.store.on_object("images", hook(queue).with_removals()));
    let delete = DeleteObject {
        hop_count: 4,
        trace_parent: "00-trace".to_owned(),
        ..DeleteObject::new("images", "a.txt")
    };
    fixture.store.commit(vec![Operation::DeleteObject(delete)]).await.unwrap();
    for queue in ["reader", "other"] {
        let messages = fixture.lease(queue, 9).await;
        assert_eq!(show(&messages), "images/a.txt 1", "{queue}");
        assert_eq!((messages[0].hop_count, &*messages[0].trace_parent), (5, "00-trace"));
    }
    drop(watches);
}

#[tokio::test]
async fn a_reader_hears_of_each_put_once() {
    let fixture = Fixture::new();
    fixture.put("early.txt", "1").await;
    fixture.put("early.png", "1").await;
    let watch = fixture.store.on_object("images", hook("reader"));
    assert_eq!(fixture.store.catch_up_objects(&watch).await.unwrap(), 1);
    assert_eq!(fixture.deliver("reader").await, "images/early.txt 1");
    fixture.put("new.txt", "1").await;
    fixture
        .store
        .commit(vec![Operation::PutObject(PutObject::new("elsewhere", "x.txt", Bytes::new()))])
        .await
        .unwrap();
    assert_eq!(fixture.deliver("reader").await, "images/new.txt 1");
    // Nothing is told twice, to this reader; another one hears of everything.
    assert_eq!(fixture.store.catch_up_objects(&watch).await.unwrap(), 0);
    let other = fixture.store.on_object("images", hook("other"));
    assert_eq!(fixture.store.catch_up_objects(&other).await.unwrap(), 2);
    assert_eq!(fixture.deliver("other").await, "images/early.txt 1 images/new.txt 1");
    drop((watch, other));
    // Put while nobody listens: replaced, new, deleted and made again.
    fixture.put("early.txt", "2").await;
    let delete = Operation::DeleteObject(DeleteObject::new("images", "new.txt"));
    fixture.store.commit(vec![delete]).await.unwrap();
    fixture.put("new.txt", "1").await;
    let watch = fixture.store.on_object("images", hook("reader"));
    assert_eq!(fixture.store.catch_up_objects(&watch).await.unwrap(), 2);
    assert_eq!(fixture.deliver("reader").await, "images/early.txt 1 images/new.txt 1");
    // A put that does not happen tells nobody.
    let nonsense = Operation::PutObject(PutObject::new("images", "", Bytes::new()));
    fixture.store.commit(vec![put("never.txt", "x"), nonsense]).await.unwrap_err();
    assert_eq!(fixture.deliver("reader").await, "");
}

/// Everything that is put while a catch-up runs is told exactly once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_missed_or_doubled_while_catching_up() {
    let fixture = Fixture::new();
    let before: Vec<Operation> = (0..1200).map(|number| put(&format!("{number}.txt"), "x")).collect();
    fixture.store.commit(before).await.unwrap();
    let store = fixture.store.clone();
    let puts = async {
        for number in 1200..1400 {
            store.commit(vec![put(&format!("{number}.txt"), "x")]).await.unwrap();
        }
    };
    let catching_up = async {
        tokio::task::yield_now().await;
        let watch = fixture.store.on_object("images", hook("reader"));
        fixture.store.catch_up_objects(&watch).await.unwrap();
        watch
    };
    let (_watch, ()) = tokio::join!(catching_up, puts);
    let mut told: Vec<String> =
        fixture.lease("reader", 5000).await.iter().map(|message| text(&message.body)).collect();
    assert_eq!(told.len(), 1400);
    told.sort_unstable();
    told.dedup();
    assert_eq!(told.len(), 1400);
}
