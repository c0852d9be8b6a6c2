//! What keys open, how they rotate, and that nothing on disk gives them away.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, UNIX_EPOCH};

use super::*;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn text(text: &str) -> KeyText {
    KeyText::chosen(text).unwrap()
}

fn ring() -> KeyRing {
    let mut ring = KeyRing::empty().unwrap();
    for (scope, name, key) in [
        (KeyScope::Host, "default", "host-key-1"),
        (KeyScope::function("Order"), "default", "order-key-1"),
        (KeyScope::System, "eventgrid_extension", "system-key"),
        (KeyScope::Master, MASTER, "master-key"),
    ] {
        assert!(ring.set(&scope, name, &text(key), at(0)).unwrap());
    }
    ring
}

fn check(ring: &KeyRing, shown: &str, function: Option<&str>, expected: &Standing) {
    assert_eq!(ring.identify(shown, function, at(100)), *expected, "{shown} for {function:?}");
}

#[test]
fn a_key_opens_what_it_is_for() {
    let ring = ring();
    check(&ring, "master-key", None, &Standing::Admin);
    check(&ring, "host-key-1", Some("anything"), &Standing::Function);
    check(&ring, "order-key-1", Some("ORDER"), &Standing::Function);
    check(&ring, "order-key-1", Some("other"), &Standing::Anonymous);
    check(&ring, "order-key-1", None, &Standing::Anonymous);
    check(&ring, "system-key", Some("order"), &Standing::System("eventgrid_extension".to_owned()));
    check(&ring, "Master-key", None, &Standing::Anonymous);
    check(&ring, "", Some("order"), &Standing::Anonymous);
    check(&KeyRing::empty().unwrap(), "master-key", None, &Standing::Anonymous);
}

#[test]
fn a_key_of_an_api_opens_routes_that_ask_for_one() {
    let mut ring = ring();
    ring.set(&KeyScope::Api, "partner", &text("api-key-1"), at(0)).unwrap();
    ring.rotate(&KeyScope::Api, "partner", &text("api-key-2"), (at(10), at(200))).unwrap();
    let found = |shown: &str, seconds: u64| ring.api_key(shown, at(seconds)).map(str::to_owned);
    assert_eq!(found("api-key-2", 100).as_deref(), Some("partner"));
    assert_eq!(found("api-key-1", 199).as_deref(), Some("partner"), "the one before, for a while");
    assert_eq!(found("api-key-1", 200), None);
    for other in ["host-key-1", "master-key", "system-key", ""] {
        assert_eq!(found(other, 100), None, "{other}");
    }
    check(&ring, "api-key-2", Some("order"), &Standing::Anonymous);
    assert!(text("api-key-1").is("api-key-1") && !text("api-key-1").is("api-key-2"));
}

#[test]
fn of_two_that_fit_the_mightier_counts() {
    let mut ring = ring();
    ring.set(&KeyScope::System, "twin_extension", &text("host-key-1"), at(0)).unwrap();
    check(&ring, "host-key-1", Some("order"), &Standing::System("twin_extension".to_owned()));
    ring.set(&KeyScope::Master, MASTER, &text("host-key-1"), at(0)).unwrap();
    check(&ring, "host-key-1", Some("order"), &Standing::Admin);
    check(&ring, "master-key", None, &Standing::Anonymous);
}

/// T-041: the old key is taken for a while, and then no longer.
#[test]
fn rotation_overlaps() {
    let mut ring = ring();
    ring.rotate(&KeyScope::Host, "Default", &text("host-key-2"), (at(50), at(150))).unwrap();
    let may = |shown, seconds| ring.identify(shown, Some("f"), at(seconds)) == Standing::Function;
    assert!(may("host-key-1", 149) && may("host-key-2", 149));
    assert!(!may("host-key-1", 150) && may("host-key-2", 150));
    let mut at_once = ring.clone();
    at_once.rotate(&KeyScope::Host, "default", &text("host-key-3"), (at(60), at(60))).unwrap();
    check(&at_once, "host-key-2", Some("f"), &Standing::Anonymous);
    let missing = ring.rotate(&KeyScope::Host, "nope", &text("host-key-2"), (at(0), at(0))).unwrap_err();
    assert_eq!(missing.code(), "E0509");
}

#[test]
fn keys_and_names_are_checked() {
    let good = |key: &str| KeyText::chosen(key).is_ok();
    assert!(good("testMasterKey") && good(KeyText::random().unwrap().reveal()));
    assert!(!good("short") && !good("with space") && !good("line\nbreak") && !good(&"x".repeat(1025)));
    let mut ring = ring();
    for name in ["", "a/b", "ä", &"x".repeat(128)] {
        let error = ring.set(&KeyScope::Host, name, &text("host-key-9"), at(0)).unwrap_err();
        assert_eq!(error.code(), "E0509", "{name}");
    }
    assert_eq!(KeyText::random().unwrap().reveal().len(), 56);
    assert_ne!(KeyText::random().unwrap(), KeyText::random().unwrap());
    assert_eq!(format!("{:?}", text("host-key-9")), "KeyText(***)");
}

/// T-040: what is on disk does not hold a key's text, in no encoding that a search would find, and only its owner
/// may read it.
#[test]
fn keys_are_hashed_at_rest() {
    let folder = tempfile::tempdir().unwrap();
    let file = KeyFile::in_folder(folder.path());
    assert!(file.read().unwrap().is_none());
    let before = file.stamp();
    let key = KeyText::random().unwrap();
    file.edit(|ring| ring.set(&KeyScope::Host, DEFAULT, &key, at(7))).unwrap();
    assert_ne!(file.stamp(), before);
    let decoded = URL_SAFE.decode(key.reveal()).unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let bytes = std::fs::read(entry.path()).unwrap();
        for needle in [key.reveal().as_bytes(), &decoded] {
            assert!(!bytes.windows(needle.len()).any(|window| window == needle), "{:?}", entry.path());
        }
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
    let ring = file.read().unwrap().unwrap();
    assert_eq!(ring.identify(key.reveal(), Some("f"), at(8)), Standing::Function);
    assert_eq!(ring.list()[0].created_ms, 7000);
}

/// T-054: keys that can't be trusted are an error, not an open door, and are not overwritten.
#[test]
fn a_file_that_cannot_be_trusted_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = KeyFile::in_folder(folder.path());
    let check = |content: &str, mode: u32, expected: &str| {
        std::fs::write(file.path(), content).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        let error = file.read().unwrap_err();
        assert_eq!((error.code(), error.to_string().contains(expected)), ("E0507", true), "{error}");
        assert!(file.edit(|ring| ring.delete(&KeyScope::Host, "x")).is_err());
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), content);
    };
    let good = serde_json::to_string(&KeyRing::empty().unwrap()).unwrap();
    check(&good, 0o644, "others than the owner");
    check("", 0o600, "does not hold keys");
    check("{\"version\":1}", 0o600, "does not hold keys");
    check(&good.replace("\"version\":1", "\"version\":2"), 0o600, "newer version");
}

/// No change is lost when several programs make keys at once.
#[test]
fn changes_take_turns() {
    let folder = tempfile::tempdir().unwrap();
    let file = KeyFile::in_folder(folder.path());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let file = &file;
            scope.spawn(move || {
                for number in 0..5 {
                    let name = format!("key-{thread}-{number}");
                    file.edit(|ring| ring.set(&KeyScope::Host, &name, &text("a-good-key"), at(0))).unwrap();
                }
            });
        }
    });
    assert_eq!(file.read().unwrap().unwrap().list().len(), 20);
}
