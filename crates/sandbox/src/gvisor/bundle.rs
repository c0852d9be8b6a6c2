//! What `runsc` is told of a machine: the configuration of an OCI bundle (runtime-spec 1.0.2).

use std::path::Path;

use serde_json::{Value, json};

use crate::boxes::view::TEMPORARY;
use crate::boxes::{Access, BoxSpec, Mount, Program};

/// The configuration for a program in a machine of its own, with the view of its box.
pub(super) fn configuration(spec: &BoxSpec, program: &Program) -> Value {
    let (user, group) = spec.users_inside();
    let environment: Vec<String> =
        program.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let arguments: Vec<String> =
        [program.path.display().to_string()].into_iter().chain(program.arguments.iter().cloned()).collect();
    let limit = |name: &str, most: u64| json!({ "type": name, "hard": most, "soft": most });
    json!({
        "ociVersion": "1.0.2",
        "hostname": "ingle",
        "process": {
            // The number of root and none of its rights: the owner of what the box's user owns outside.
            "user": { "uid": user, "gid": group },
            "capabilities": {},
            "noNewPrivileges": true,
            "args": arguments,
            "env": environment,
            "cwd": program.directory,
            "rlimits": [
                limit("RLIMIT_NOFILE", spec.open_files_max),
                limit("RLIMIT_FSIZE", spec.file_bytes_max),
                limit("RLIMIT_CORE", 0),
            ],
        },
        // The view of the box is the root: there is nothing else in it that could be seen.
        "root": { "path": "/", "readonly": true },
        "mounts": mounts(spec),
        // The network is that of the box.
        "linux": { "namespaces": [{ "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" }] },
    })
}

fn mounts(spec: &BoxSpec) -> Vec<Value> {
    let temporary = |path: &&str| {
        let options = ["nosuid".to_owned(), "nodev".to_owned(), "mode=1777".to_owned(), size(spec)];
        json!({ "destination": path, "type": "tmpfs", "source": "tmpfs", "options": options })
    };
    let mut mounts = vec![json!({ "destination": "/proc", "type": "proc", "source": "proc" })];
    mounts.extend(TEMPORARY.iter().map(temporary));
    mounts.extend(bound(&spec.view.mounts).into_iter().map(|mount| {
        let access = if mount.access == Access::ReadWrite { "rw" } else { "ro" };
        let options = ["rbind", "nosuid", "nodev", access];
        json!({ "destination": mount.path, "type": "bind", "source": mount.path, "options": options })
    }));
    mounts
}

fn size(spec: &BoxSpec) -> String {
    format!("size={}", spec.scratch.bytes)
}

/// What has to be mounted once more, what is above first: what the root alone would not show as it is meant.
fn bound(mounts: &[Mount]) -> Vec<&Mount> {
    let mut sorted: Vec<&Mount> = mounts.iter().collect();
    sorted.sort_by_key(|mount| mount.path.components().count());
    let above =
        |path: &Path| sorted.iter().rev().find(|mount| path != mount.path && path.starts_with(&mount.path));
    let is_bound = |mount: &&&Mount| match mount.access {
        Access::Hidden | Access::Discarded => false,
        // The root is read-only as a whole.
        Access::ReadWrite => true,
        Access::ReadOnly => match above(&mount.path) {
            // A folder that others write into while functions run: what is in the root is taken to stay as it is.
            Some(above) => above.access != Access::ReadOnly,
            None => TEMPORARY.iter().any(|folder| mount.path.starts_with(folder)),
        },
    };
    sorted.iter().filter(is_bound).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mounts: &[(&str, Access)], expected: &[&str]) {
        let mounts: Vec<Mount> = mounts
            .iter()
            .map(|(path, access)| Mount { path: path.into(), access: *access, owner: None })
            .collect();
        let paths: Vec<&str> = bound(&mounts).iter().filter_map(|mount| mount.path.to_str()).collect();
        assert_eq!(paths, expected);
    }

    #[test]
    fn what_the_root_shows_already_is_not_mounted_again() {
        use Access::{Hidden, ReadOnly, ReadWrite};
        check(&[("/usr", ReadOnly), ("/home/app", ReadOnly), ("/home/app/.ingle", Hidden)], &[]);
        check(&[("/home/app", ReadOnly), ("/home/app/data", ReadWrite)], &["/home/app/data"]);
        check(&[("/tmp/app/.ingle", Hidden), ("/tmp/app", ReadOnly)], &["/tmp/app"]);
        check(
            &[("/app", ReadOnly), ("/app/.ingle/handed", ReadOnly), ("/app/.ingle", Hidden)],
            &["/app/.ingle/handed"],
        );
        check(&[("/tmp/data", ReadWrite), ("/tmp/data/app", ReadOnly)], &["/tmp/data", "/tmp/data/app"]);
    }
}
