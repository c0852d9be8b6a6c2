//! Programs that are run to their end in a box, on the real kernel.

#![expect(clippy::unwrap_used, reason = "a test may panic, also in the functions that its tests share")]
#![expect(clippy::print_stderr, reason = "what is skipped is said")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ingle_sandbox::boxes::machine::{self, Crowd};
use ingle_sandbox::boxes::{
    Access, BoxSpec, Boxes, Identity, Mount, Network, Role, Scratch, USER_INSIDE, run,
};
use ingle_sandbox::command::{Command, Error, Output};

const LONG: Duration = Duration::from_secs(60);

struct World {
    folder: tempfile::TempDir,
    mounts: Vec<Mount>,
    has_namespaces: bool,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["own", "app", "else"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join("file"), name).unwrap();
        }
        let mut world = Self { folder, mounts: Vec::new(), has_namespaces: true };
        world.see("own", Access::ReadWrite);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    fn see(&mut self, name: &str, access: Access) {
        self.mounts.push(machine::mount(self.path(name), access));
    }

    fn spec(&self) -> BoxSpec {
        let network = Network::Own { resolver: false };
        let mut view = machine::view(network);
        view.mounts.extend(self.mounts.clone());
        let identity = match ingle_sandbox::process::user() {
            (0, _) => Identity::Own { user: machine::user_of(self.folder.path(), Crowd::Builders) },
            (user, group) => Identity::Same { user, group },
        };
        BoxSpec {
            role: Role::Program,
            view,
            identity,
            network,
            scratch: Scratch { bytes: 1 << 20, files: 100 },
            open_files_max: 256,
            file_bytes_max: 1 << 20,
            processes_max: 200,
            has_namespaces: self.has_namespaces,
            asks: false,
            gvisor: None,
        }
    }

    async fn run(&self, script: &str, timeout: Duration) -> Result<Output, Error> {
        let boxes = Boxes::new(PathBuf::from(env!("CARGO_BIN_EXE_box-maker")));
        let script = script.replace("ROOT", &self.path("").display().to_string());
        let command = Command {
            program: PathBuf::from("/bin/sh"),
            args: vec!["-c".into(), script.into()],
            env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            cwd: self.path("own"),
            timeout,
        };
        run(&boxes, &self.spec(), (None, None), command, &mut |_, _| {}).await
    }

    #[track_caller]
    fn check(output: &Output, stdout: &str) {
        assert_eq!((output.stdout.as_str(), output.status.code()), (stdout, Some(0)), "{output:?}");
    }
}

#[tokio::test]
async fn both_outputs_and_the_status_come_back() {
    let output = World::new().run("echo one; echo two >&2; exit 3", LONG).await.unwrap();
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str(), output.status.code()),
        ("one\n", "two\n", Some(3))
    );
    let gone = World { mounts: Vec::new(), ..World::new() }.run("true", LONG).await.unwrap_err();
    assert!(matches!(gone, Error::Box { .. }) && gone.code() == "E0620", "{gone:?}");
}

/// T-008: a program has no right, no descriptor and no variable but what it is given.
#[tokio::test]
async fn t_008_a_program_has_nothing_that_it_is_not_given() {
    let script = "grep -h -e '^Cap[A-Z]' /proc/self/status | cut -f2 | sort -u; ls /proc/self/fd | tr '\\n' ' '; env | cut -d= -f1 | tr '\\n' ' '; \
        cat /proc/1/environ 2>&1 | wc -c; ls ROOT";
    let output = World::new().run(script, LONG).await.unwrap();
    assert!(output.stdout.starts_with("0000000000000000\n0 1 2 3 "), "{output:?}");
    assert!(!output.stdout.contains("CARGO"), "{output:?}");
    assert!(output.stdout.ends_with("\nown\n"), "{output:?}");
}

#[tokio::test]
async fn what_is_written_belongs_to_the_server_s_user() {
    use std::os::unix::fs::MetadataExt as _;
    let world = World::new();
    // As root the box has a user of its own.
    let (user, _) = ingle_sandbox::process::user();
    let user = if user == 0 { USER_INSIDE } else { user };
    World::check(
        &world.run("cat file; echo new > new; stat -c %u new", LONG).await.unwrap(),
        &format!("own{user}\n"),
    );
    let found = std::fs::metadata(world.path("own/new")).unwrap();
    assert_eq!(found.uid(), ingle_sandbox::process::user().0);
}

/// Installers make what they install in one folder and move it to another. `mv` would copy, `ln` can't.
#[tokio::test]
async fn files_are_moved_and_linked_between_folders() {
    for has_namespaces in [true, false] {
        let world = World { has_namespaces, ..World::new() };
        let script = "mkdir a b && echo x > a/f && ln a/f b/f && cat b/f";
        World::check(&world.run(script, LONG).await.unwrap(), "x\n");
    }
}

/// T-017: the terminals of all boxes are from one store of the machine's.
#[tokio::test]
async fn t_017_a_box_has_few_terminals() {
    let script = "grep ' /dev/pts devpts ' /proc/mounts | grep -o 'max=64'";
    World::check(&World::new().run(script, LONG).await.unwrap(), "max=64\n");
}

/// Whoever may have fewer descriptors than a box is given by itself, as `ulimit -n` says, still gets boxes.
#[tokio::test]
async fn a_lower_limit_of_the_server_holds_in_a_box() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    // Each test is a process of its own.
    let before = getrlimit(Resource::Nofile);
    let lower = Some(200);
    setrlimit(Resource::Nofile, Rlimit { current: lower, maximum: lower }).unwrap();
    let output = World::new().run("ulimit -Hn", LONG).await;
    setrlimit(Resource::Nofile, before).ok();
    World::check(&output.unwrap(), "200\n");
}

/// T-008: settings of the machine can't be seen, as root's are its own where files can't be lent.
#[tokio::test]
async fn t_008_a_program_finds_no_settings_of_the_machine() {
    let script = "ls /proc/sys | wc -l; ls /etc/ssl/private 2>/dev/null | wc -l; cat /proc/kmsg | wc -c";
    World::check(&World::new().run(script, LONG).await.unwrap(), "0\n0\n0\n");
}

/// T-010b: without namespaces root gives an app a user all the same, who can do with the files of its view what it
/// should, and nothing with others.
#[tokio::test]
async fn t_010b_without_namespaces_there_is_a_user_of_its_own() {
    if ingle_sandbox::process::user().0 != 0 || !ingle_sandbox::landlock::is_there() {
        eprintln!("skipped: only root can give users, and only Landlock keeps them from files");
        return;
    }
    let mut world = World { has_namespaces: false, ..World::new() };
    world.see("app", Access::ReadOnly);
    std::fs::create_dir(world.path("app/state")).unwrap();
    std::fs::write(world.path("app/state/key"), "secret").unwrap();
    world.see("app/state", Access::Hidden);
    std::os::unix::fs::symlink(world.path("else"), world.path("app/link")).unwrap();
    let script = "id -u; cat file; echo new > new; cd ROOT/app; cat file; ls; \
        cat state/key; cat link/file; cat ROOT/else/file; echo x > file; chmod 777 file; cat /etc/shadow; \
        echo x > /proc/sys/kernel/core_pattern; head -c 1 /dev/kmsg; cat ROOT/app/file";
    let output = world.run(script, LONG).await.unwrap();
    let user = machine::user_of(world.folder.path(), Crowd::Builders);
    World::check(&output, &format!("{user}\nownappfile\nlink\nstate\napp"));
    let refused =
        |path: &str| output.stderr.lines().any(|line| line.contains(path) && line.contains("denied"));
    for path in ["state/key", "link/file", "else/file", "/etc/shadow", "core_pattern", "/dev/kmsg"] {
        assert!(refused(path), "{path}: {output:?}");
    }
}

/// T-008: what is built in the app's folder does not change it.
#[tokio::test]
async fn t_008_what_is_discarded_never_reaches_the_host() {
    let mut world = World::new();
    world.see("app", Access::Discarded);
    std::fs::create_dir(world.path("app/state")).unwrap();
    std::fs::write(world.path("app/state/key"), "secret").unwrap();
    std::fs::write(world.path("app/settings"), "secret").unwrap();
    world.see("app/state", Access::Hidden);
    world.see("app/settings", Access::Hidden);
    let script = "cd ROOT/app && echo more >> file && rm -r -- * 2>/dev/null; mkdir -p built && echo x > built/x && cat built/x; \
        ls state; cat settings";
    World::check(&world.run(script, LONG).await.unwrap(), "x\n");
    assert_eq!(std::fs::read_to_string(world.path("app/file")).unwrap(), "app");
    assert!(!world.path("app/built").exists());
    assert_eq!(std::fs::read_to_string(world.path("app/state/key")).unwrap(), "secret");
}

/// A daemon that no process group holds: it says that it is there, and would write another file later.
const DAEMON: &str = "setsid sh -c 'trap \"\" TERM HUP; (echo ready > ROOTown/ready; while :; do echo alive > ROOTown/alive; done) &' \
    < /dev/null > /dev/null 2>&1; while [ ! -f ROOTown/ready ]; do :; done;";

/// T-008, T-016: whatever it did to get away, what a program has started ends with it.
#[tokio::test]
async fn t_008_daemons_end_with_the_program() {
    for (end, timeout) in [("echo done", LONG), ("sleep 600", Duration::from_millis(500))] {
        let world = World::new();
        let result = world.run(&format!("{DAEMON}{end}"), timeout).await;
        match result {
            Ok(output) => World::check(&output, "done\n"),
            Err(error) => assert!(matches!(error, Error::TimedOut { .. }), "{error:?}"),
        }
        assert!(world.path("own/ready").exists());
        // It writes all the time; nobody does once the box is gone, so that the folder can be emptied for good.
        std::fs::remove_dir_all(world.path("own")).unwrap();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!world.path("own").exists());
        assert!(!is_running(&world.path("own")), "the daemon runs");
    }
}

/// Whether a process of this machine has the path in its arguments.
fn is_running(path: &Path) -> bool {
    let wanted = path.display().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .map(|entry| entry.path().join("cmdline"))
        .any(|file| std::fs::read(file).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(&wanted)))
}
