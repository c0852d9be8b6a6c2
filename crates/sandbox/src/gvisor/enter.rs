//! From a fork of the keeper to `runsc` in the box, step by step.

use std::convert::Infallible;
use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::process::{Resource, Rlimit, setrlimit};

use super::bundle::configuration;
use super::{Gvisor, folder_of};
use crate::boxes::keeper::Order;
use crate::boxes::sys::{self, At as _, Done};
use crate::boxes::{Network, Program, wire};

impl Gvisor {
    /// Starts the program in a machine of its own; returns only when that failed. It leads a process group, with which the
    /// server ends it and the gofer; the sandbox ends when its parent does. `keeper` closes with the exec.
    pub(crate) fn become_machine(
        &self,
        order: &Order<'_>,
        program: &Program,
        keeper: &OwnedFd,
    ) -> Done<Infallible> {
        let spec = order.spec;
        let number = rustix::process::getpid().as_raw_nonzero().get();
        let folder = folder_of(number);
        write_bundle(&folder, &configuration(spec, program).to_string())?;
        rustix::process::chdir("/").at("enter the root")?;
        limit(Resource::Core, 0)?;
        limit(Resource::Nproc, spec.processes_max)?;
        if spec.asks {
            let listener = order.filters.asks.load_with_listener().at("have connections asked for")?;
            let nothing: Option<(String, i32)> = None;
            wire::send(keeper, &nothing, &[listener.as_fd()]).at("hand over the listener")?;
        }
        // Files of the box are made and changed by gVisor on behalf of the function, and for it only its own filter counts.
        order.filters.gvisor.load().at("restrict system calls")?;
        let mut command = self.command(number, spec.network);
        let bundle = format!("--bundle={}", folder.display());
        let failed = command.args(["run", &bundle, &name_of(number)]).exec();
        Err(failed).at_path("start", &self.program)
    }

    /// Aborts the program of a machine; returns only when that failed. The machine is that of another process.
    pub(crate) fn abort(&self, number: i32, network: Network) {
        sys::unblock_signals();
        sys::close_from(3);
        let mut command = self.command(number, network);
        // Whoever waits for the end of the machine ends it in another way then.
        drop(command.args(["kill", &name_of(number), "ABRT"]).exec());
    }

    /// What all commands about one machine have in common.
    #[expect(clippy::disallowed_methods, reason = "this is the room that starts processes")]
    fn command(&self, number: i32, network: Network) -> Command {
        let state = folder_of(number).join("state");
        let network = match network {
            Network::Own { resolver: false } => "none",
            // That of the box, in which the server is asked for each connection.
            Network::Host | Network::Own { resolver: true } => "host",
        };
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .arg(format!("--root={}", state.display()))
            // The others want a device that may be there and not work, or are not in every release.
            .arg("--platform=ptrace")
            .arg(format!("--network={network}"))
            // The group of the worker is made by the server.
            .arg("--ignore-cgroups")
            // It is root of the box only.
            .arg("--rootless");
        command
    }
}

/// The names of its sockets are made of this, and machines of a box share a network.
fn name_of(number: i32) -> String {
    format!("machine-{number}")
}

fn write_bundle(folder: &Path, configuration: &str) -> Done {
    let make = |path: &Path| fs::DirBuilder::new().mode(0o700).create(path).at_path("make the folder", path);
    make(folder)?;
    make(&folder.join("state"))?;
    let path = folder.join("config.json");
    fs::write(&path, configuration).at_path("write", &path)
}

fn limit(resource: Resource, most: u64) -> Done {
    setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) }).at("set the limits")
}
