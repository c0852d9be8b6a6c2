//! Which room may depend on which, and why.

use std::path::Path;

use anyhow::Context;
use cargo_metadata::DependencyKind;

use super::Offence;

/// A room and the rooms that it may use, each with the reason.
struct Room {
    name: &'static str,
    may_use: &'static [(&'static str, &'static str)],
}

const ROOMS: [Room; 12] = [
    Room { name: "types", may_use: &[] },
    Room { name: "tasks", may_use: &[] },
    Room {
        name: "store",
        may_use: &[
            ("types", "clock, fault points and names"),
            ("tasks", "the sweep of old files is a task with an owner"),
        ],
    },
    Room { name: "sandbox", may_use: &[("types", "limits and blame")] },
    Room {
        name: "apps",
        may_use: &[
            ("types", "makes the specification of an app"),
            ("sandbox", "asks interpreters and runs installers"),
        ],
    },
    Room {
        name: "worker",
        may_use: &[
            ("types", "invocations, outcomes and values"),
            ("tasks", "one task for each process that it watches"),
            ("sandbox", "starts and ends the processes"),
        ],
    },
    Room {
        name: "connectors",
        may_use: &[
            ("types", "makes events, calls the port Invoker"),
            ("tasks", "listeners are tasks"),
            ("store", "queues and documents are in it"),
        ],
    },
    Room {
        name: "dispatch",
        may_use: &[
            ("types", "implements the port Invoker"),
            ("tasks", "an accepted invocation outlives its caller"),
            ("store", "outputs and acknowledgement are one commit"),
            ("worker", "picks a worker and runs the function on it"),
            ("connectors", "reads inputs and turns outputs into operations"),
        ],
    },
    Room {
        name: "gateway",
        may_use: &[
            ("types", "makes events from requests"),
            ("tasks", "connections are tasks"),
            ("store", "shows queues and documents to the administrator"),
        ],
    },
    Room {
        name: "control",
        may_use: &[
            ("types", "compares specifications"),
            ("tasks", "an old generation drains as a task"),
            ("store", "hands it to the generations"),
            ("sandbox", "says what the box of an app holds"),
            ("apps", "reads the folder and prepares the environment"),
            ("worker", "starts the workers of a generation"),
            ("connectors", "starts and stops its listeners"),
            ("dispatch", "makes its dispatcher"),
        ],
    },
    Room {
        name: "ingle",
        may_use: &[
            ("types", BUILDS),
            ("tasks", BUILDS),
            ("store", BUILDS),
            ("sandbox", BUILDS),
            ("apps", BUILDS),
            ("worker", BUILDS),
            ("connectors", BUILDS),
            ("dispatch", BUILDS),
            ("gateway", BUILDS),
            ("control", BUILDS),
        ],
    },
    Room {
        name: "testkit",
        may_use: &[
            ("types", TESTS),
            ("tasks", TESTS),
            ("store", TESTS),
            ("sandbox", TESTS),
            ("apps", TESTS),
            ("worker", TESTS),
            ("connectors", TESTS),
            ("dispatch", TESTS),
            ("gateway", TESTS),
            ("control", TESTS),
        ],
    },
];

const BUILDS: &str = "the binary builds every room and hands out the handles";
const TESTS: &str = "used in tests only, so it guards nothing";

/// A dependency between two packages of the workspace that is there outside tests.
#[derive(Debug)]
pub(super) struct Edge {
    from: String,
    to: String,
}

/// The edges that the manifests declare. Needs no network.
///
/// # Errors
/// If cargo can't read the manifests.
pub(super) fn read(root: &Path) -> anyhow::Result<Vec<Edge>> {
    let mut command = cargo_metadata::MetadataCommand::new();
    command.manifest_path(root.join("Cargo.toml")).no_deps();
    let metadata = command.exec().context("the manifests can't be read")?;
    let mut edges = Vec::new();
    for package in &metadata.packages {
        let lasting = package.dependencies.iter().filter(|one| one.kind != DependencyKind::Development);
        let inside = lasting.filter(|dependency| dependency.path.is_some());
        edges.extend(inside.map(|dependency| Edge { from: room(&package.name), to: room(&dependency.name) }));
    }
    Ok(edges)
}

fn room(package: &str) -> String {
    package.strip_prefix("ingle-").unwrap_or(package).to_owned()
}

/// The edges that the table does not allow.
pub(super) fn forbidden_edges(edges: &[Edge]) -> Vec<Offence> {
    edges.iter().filter(|edge| !is_allowed(edge)).map(offence).collect()
}

fn is_allowed(edge: &Edge) -> bool {
    let room = ROOMS.iter().find(|room| room.name == edge.from);
    room.is_some_and(|room| room.may_use.iter().any(|(name, _)| *name == edge.to))
}

fn offence(edge: &Edge) -> Offence {
    let message = format!(
        "`{}` may not depend on `{}`; if it has to, add the edge with its reason to xtask/src/tidy/edges.rs",
        edge.from, edge.to
    );
    Offence::new(format!("crates/{}/Cargo.toml", edge.from), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(from: &str, to: &str, allowed: bool) {
        let edges = [Edge { from: from.to_owned(), to: to.to_owned() }];
        assert_eq!(forbidden_edges(&edges).is_empty(), allowed, "{from} -> {to}");
    }

    #[test]
    fn only_edges_of_the_table_are_allowed() {
        check("dispatch", "worker", true);
        check("ingle", "gateway", true);
        check("testkit", "gateway", true);
        check("types", "tasks", false);
        check("connectors", "worker", false);
        check("sandbox", "tasks", false);
        check("store", "testkit", false);
        check("brand-new", "types", false);
    }

    #[test]
    fn an_offence_names_the_manifest() {
        let edges = [Edge { from: "connectors".to_owned(), to: "worker".to_owned() }];
        assert_eq!(forbidden_edges(&edges)[0].place, "crates/connectors/Cargo.toml");
    }

    #[test]
    fn the_table_has_no_circle() {
        for (position, room) in ROOMS.iter().enumerate() {
            for (used, reason) in room.may_use {
                let below = ROOMS.iter().position(|other| other.name == *used).unwrap();
                assert!(below < position, "{} uses {used}, which stands after it", room.name);
                assert!(!reason.is_empty());
            }
        }
    }

    #[test]
    fn the_manifests_can_be_read() {
        let edges = read(&crate::root().unwrap()).unwrap();
        assert!(edges.iter().any(|edge| edge.from == "ingle" && edge.to == "types"), "{edges:?}");
        assert!(edges.iter().all(|edge| edge.from != "xtask"), "{edges:?}");
    }
}
