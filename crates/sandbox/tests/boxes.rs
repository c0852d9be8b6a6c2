//! Boxes on the real kernel, with programs of the machine in them.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use ingle_sandbox::boxes::{
    Access, BoxError, BoxSpec, Boxed, Boxes, Identity, Mount, Network, Open, Program, Role, Scratch, View,
};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

fn spec() -> BoxSpec {
    let seen = |path: &str| Mount { path: path.into(), access: Access::ReadOnly, owner: None };
    let mut links = BTreeMap::new();
    let mut mounts = vec![seen("/usr")];
    for name in ["/bin", "/lib", "/lib64", "/sbin"] {
        match std::fs::read_link(name) {
            Ok(target) => drop(links.insert(PathBuf::from(name), target)),
            Err(_) => mounts.push(seen(name)),
        }
    }
    let files = BTreeMap::from([("/etc/passwd".into(), "function:x:1000:1000::/tmp:/bin/sh\n".to_owned())]);
    let user = rustix::process::geteuid().as_raw();
    let identity = if user == 0 {
        Identity::Own { user: 1_700_000_000 }
    } else {
        Identity::Same { user, group: rustix::process::getegid().as_raw() }
    };
    BoxSpec {
        role: Role::Zygote,
        view: View { mounts, files, links },
        identity,
        network: Network::Own { resolver: true },
        scratch: Scratch { bytes: 1 << 20, files: 100 },
        open_files_max: 256,
        file_bytes_max: 1 << 30,
        processes_max: 200,
        has_namespaces: true,
        asks: false,
    }
}

/// A box, with the task that hears its keeper.
struct Running {
    boxed: Boxed,
    port: tokio::task::JoinHandle<()>,
}

async fn made(spec: &BoxSpec) -> Running {
    let boxes = Boxes::new(PathBuf::from(env!("CARGO_BIN_EXE_box-maker")));
    let (boxed, port) = boxes.make(spec).await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test has no tasks of a server")]
    let port = tokio::spawn(async move {
        let _kept = boxes;
        port.run().await;
    });
    Running { boxed, port }
}

impl Running {
    async fn says(&self, script: &str) -> String {
        let (output, theirs) = output();
        let (_ours, control) = std::os::unix::net::UnixStream::pair().unwrap();
        let (control, errors): (OwnedFd, _) = (control.into(), theirs.try_clone().unwrap());
        let program = Program {
            path: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            environment: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            directory: "/".into(),
        };
        let started = self.boxed.start(program, Open { output: &theirs, errors: &errors, control: Some(&control) }).await.unwrap();
        drop((theirs, errors, control));
        let mut text = String::new();
        let mut output = output;
        output.read_to_string(&mut text).await.unwrap();
        started.process.ended().await.unwrap();
        let status = started.ended.status().await.unwrap();
        format!("{text}[{}]", status.code().unwrap_or(-1))
    }
}

fn output() -> (pipe::Receiver, OwnedFd) {
    let (sender, receiver) = pipe::pipe().unwrap();
    (receiver, sender.into_blocking_fd().unwrap())
}

#[tokio::test]
async fn what_is_not_in_the_view_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    std::fs::write(root.join("own"), "mine").unwrap();
    std::fs::create_dir_all(root.join("state/spool")).unwrap();
    std::fs::write(root.join("state/secret"), "secret").unwrap();
    let mut spec = spec();
    let owner = Some((rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()));
    let mount = |path: PathBuf, access| Mount { path, access, owner };
    spec.view.mounts.push(mount(root.clone(), Access::ReadOnly));
    spec.view.mounts.push(mount(root.join("state"), Access::Hidden));
    spec.view.mounts.push(mount(root.join("state/spool"), Access::ReadWrite));
    let running = made(&spec).await;
    assert_eq!(running.boxed.shortfalls(), []);
    let at = |script: &str| script.replace("ROOT", &root.display().to_string());
    println!("{}",running.says("ls -A /").await);
    assert_eq!(running.says(&at("cat ROOT/own; ls ROOT/state")).await, "minespool\n[0]");
    println!("{}",running.says(&at("echo x > ROOT/own || echo x > ROOT/state/x || echo x > /x || echo x > /usr/x")).await);
    assert_eq!(running.says(&at("echo out > ROOT/state/spool/file; cat ROOT/state/spool/file")).await, "out\n[0]");
    assert_eq!(std::fs::read_to_string(root.join("state/spool/file")).unwrap(), "out\n");
    println!("{}",running.says("ls /proc | grep -c '^[0-9]'; echo $$ > /tmp/x; ls /tmp; hostname").await);
    println!("{}",running.says("id -u; cat /proc/self/status | grep -e Cap -e NoNew -e Seccomp; ls -l /proc/self/fd; env").await);
    let cell = running.boxed.cell().await.unwrap();
    drop(cell);
    drop(running.boxed);
    running.port.await.unwrap();
}
