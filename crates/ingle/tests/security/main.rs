//! Attacks through the real binary: apps that try to see, reach or use up what is not theirs (`tests/security`), in each
//! class of isolation, as root and as an ordinary user. Each has to fail in the manner that `docs/security-results.md`
//! tells; `INGLE_UPDATE_SECURITY=1` writes that table anew.
//!
//! | to find | look in |
//! |---|---|
//! | who attacks, who is the neighbour, what is hidden where | `stage` |
//! | what is tried, one row for each | `seeing`, `reaching`, `using_up`, `ending` |
//! | what comes out otherwise on a kernel of gVisor, and why | `gvisor` |
//! | the same where namespaces are forbidden | `unboxed` |
//! | how the neighbour fares meanwhile | `neighbour` |
//! | what has a server of its own: time and streams; a terminal | `going_on`, `terminal` |
//! | the table | `table` |
#![expect(clippy::unwrap_used, reason = "an attack that can't be made ends the test")]

mod ending;
mod going_on;
mod gvisor;
mod neighbour;
mod reaching;
mod seeing;
mod stage;
mod table;
mod terminal;
mod unboxed;
mod using_up;

use stage::{Class, Stage, User};

/// Everything that is tried in a box.
fn attack(class: Class, user: User) {
    let Some(mut stage) = Stage::set(class, user) else { return };
    seeing::all(&mut stage);
    reaching::all(&mut stage);
    using_up::all(&mut stage);
    ending::all(&mut stage);
    stage.end();
}

#[test]
fn t_001_to_t_087_default_as_root() {
    attack(Class::Default, User::Root);
}

#[test]
fn t_001_to_t_087_default_as_ordinary_user() {
    attack(Class::Default, User::Ordinary);
}

#[test]
fn t_001_to_t_087_strict_as_root() {
    attack(Class::Strict, User::Root);
}

#[test]
fn t_001_to_t_087_strict_as_ordinary_user() {
    attack(Class::Strict, User::Ordinary);
}

#[test]
fn t_001_to_t_087_gvisor_as_root() {
    attack(Class::Gvisor, User::Root);
}

#[test]
fn t_001_to_t_087_gvisor_as_ordinary_user() {
    attack(Class::Gvisor, User::Ordinary);
}
