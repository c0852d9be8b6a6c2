//! The whole decision table, and the guard in front of real requests.

use std::sync::Arc;

use http::Request;
use ingle_store::keys::{DEFAULT, KeyScope, KeyText, MASTER};
use ingle_types::clock::SystemClock;

use super::*;

#[test]
fn decision_table() {
    let function = FunctionName::new("order");
    let level = |level| Requirement::Function(level, &function);
    let system = |name: &str| Standing::System(format!("{name}_extension"));
    // Anonymous, Function, System, Admin: the standings of facts 3.5.
    let check = |requirement: Requirement<'_>, expected: [bool; 4]| {
        let standings = [Standing::Anonymous, Standing::Function, system("EventGrid"), Standing::Admin];
        let found: Vec<bool> = standings.iter().map(|standing| permits(requirement, standing)).collect();
        assert_eq!(found, expected, "{requirement:?}");
    };
    check(level(AuthLevel::Anonymous), [true, true, true, true]);
    check(level(AuthLevel::Function), [false, true, false, true]);
    check(level(AuthLevel::Admin), [false, false, false, true]);
    check(Requirement::Admin, [false, false, false, true]);
    check(Requirement::Webhook("eventgrid"), [false, false, true, true]);
    check(Requirement::Webhook("durabletask"), [false, false, false, true]);
}

struct Door {
    guard: Guard,
    _folder: tempfile::TempDir,
}

fn door(asks: bool) -> Door {
    let folder = tempfile::tempdir().unwrap();
    let file = KeyFile::in_folder(folder.path());
    Door { guard: Guard::new(asks, file, Arc::new(SystemClock)), _folder: folder }
}

impl Door {
    fn set(&self, scope: &KeyScope, name: &str, key: &str) {
        let (key, now) = (KeyText::chosen(key).unwrap(), self.guard.clock().now());
        self.guard.file().edit(|ring| ring.set(scope, name, &key, now)).unwrap();
    }

    fn status(&self, requirement: Requirement<'_>, target: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().uri(target).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.extension(Peer("127.0.0.1:9".parse().unwrap())).body(()).unwrap();
        match self.guard.check(&request.into_parts().0, requirement) {
            Ok(()) => 200,
            Err(answer) => {
                assert!(answer.body().is_empty());
                answer.status().as_u16()
            }
        }
    }
}

#[test]
fn a_key_is_read_from_header_or_query() {
    let door = door(true);
    door.set(&KeyScope::Host, DEFAULT, "host-key==");
    let function = FunctionName::new("order");
    let check = |target: &str, headers: &[(&str, &str)], expected: u16| {
        let found = door.status(Requirement::Function(AuthLevel::Function, &function), target, headers);
        assert_eq!(found, expected, "{target} {headers:?}");
    };
    check("/api/order", &[], 401);
    check("/api/order", &[("x-functions-key", "host-key==")], 200);
    check("/api/order?code=host-key==", &[], 200);
    check("/api/order?a=1&CODE=host%2Dkey%3D%3D", &[], 200);
    check("/api/order?code=host-key==", &[("x-functions-key", "wrong")], 401);
    check("/api/order?code=wrong", &[("x-functions-key", "host-key==")], 200);
    check("/api/order?code=wrong&code=host-key==", &[], 401);
    check("/api/order?code=host-key==&code=wrong", &[], 200);
    check("/api/order?code=", &[("x-functions-key", "")], 401);
    check("/api/order?code=host-key==", &[("x-functions-key", "")], 200);
    check("/api/order?code=host-key==%20", &[], 401);
}

#[test]
fn a_running_guard_sees_a_change_at_once() {
    let door = door(true);
    let function = FunctionName::new("order");
    let check = |key: &str, expected: u16| {
        let requirement = Requirement::Function(AuthLevel::Function, &function);
        assert_eq!(door.status(requirement, "/", &[("x-functions-key", key)]), expected, "{key}");
    };
    check("first-key", 401);
    door.set(&KeyScope::function("order"), DEFAULT, "first-key");
    check("first-key", 200);
    door.set(&KeyScope::function("order"), DEFAULT, "other-key");
    check("first-key", 401);
    check("other-key", 200);
    door.guard.file().edit(|ring| ring.delete(&KeyScope::function("order"), DEFAULT)).unwrap();
    check("other-key", 401);
}

/// T-054: keys that become unreadable shut the doors, and open no other.
#[test]
fn unreadable_keys_let_nobody_in() {
    let door = door(true);
    door.set(&KeyScope::Master, MASTER, "master-key");
    let check = |expected: u16| {
        let found = door.status(Requirement::Admin, "/", &[("x-functions-key", "master-key")]);
        assert_eq!((found, door.status(Requirement::Admin, "/", &[])), (expected, 401));
    };
    check(200);
    std::fs::write(door.guard.file().path(), "{").unwrap();
    check(401);
    std::fs::remove_file(door.guard.file().path()).unwrap();
    check(401);
}

#[test]
fn without_auth_only_this_machine_needs_no_key() {
    let door = door(false);
    door.set(&KeyScope::Master, MASTER, "master-key");
    let function = FunctionName::new("order");
    let elsewhere = [("x-forwarded-for", "192.0.2.7")];
    let with_key = [("x-forwarded-for", "192.0.2.7"), ("x-functions-key", "master-key")];
    let check = |requirement: Requirement<'_>, headers: &[(&str, &str)], expected: u16| {
        assert_eq!(door.status(requirement, "/", headers), expected, "{requirement:?} {headers:?}");
    };
    check(Requirement::Function(AuthLevel::Admin, &function), &elsewhere, 200);
    check(Requirement::Admin, &[], 200);
    check(Requirement::Admin, &elsewhere, 401);
    check(Requirement::Admin, &with_key, 200);
    check(Requirement::Webhook("eventgrid"), &elsewhere, 401);
    check(Requirement::Admin, &[("x-functions-key", "a-wrong-key")], 401);
}

/// T-040, T-047: guesses are counted; a good key of too little right, or none at all, is no guess.
#[test]
fn guesses_are_limited() {
    let door = door(true);
    door.set(&KeyScope::Host, DEFAULT, "host-key-1");
    let function = FunctionName::new("order");
    let level = |level| Requirement::Function(level, &function);
    for _ in 0..50 {
        assert_eq!(door.status(Requirement::Admin, "/?code=host-key-1", &[]), 401);
        assert_eq!(door.status(Requirement::Admin, "/", &[]), 401);
    }
    for _ in 0..20 {
        assert_eq!(door.status(level(AuthLevel::Function), "/?code=guess", &[]), 401);
    }
    assert_eq!(door.status(level(AuthLevel::Function), "/?code=guess", &[]), 429);
    assert_eq!(door.status(level(AuthLevel::Function), "/?code=host-key-1", &[]), 429);
    assert_eq!(door.status(level(AuthLevel::Anonymous), "/?code=guess", &[]), 200);
    let elsewhere = [("x-forwarded-for", "192.0.2.7")];
    assert_eq!(door.status(level(AuthLevel::Function), "/?code=host-key-1", &elsewhere), 200);
}
