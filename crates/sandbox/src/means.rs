//! What this machine has to confine functions with, found out by trying, and said in words for a person.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::boxes::{
    Access, BoxError, BoxSpec, Boxes, Identity, Mount, Network, Protection, Role, Scratch, Shortfall, View,
};
use crate::cgroup::{Cgroups, Controller};
use crate::temporary::Temporary;
use crate::{landlock, process};

/// The means of a server to confine functions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Means {
    pub boxes: Boxes,
    /// Absent where this machine has no control groups that we may use.
    pub groups: Option<Arc<Cgroups>>,
    pub strength: Arc<Strength>,
}

/// Which protections there are, and why others are not.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Strength {
    missing: BTreeMap<Protection, String>,
}

impl Strength {
    pub fn new(shortfalls: impl IntoIterator<Item = Shortfall>) -> Self {
        Self { missing: shortfalls.into_iter().map(|one| (one.protection, one.reason)).collect() }
    }

    pub fn has(&self, protection: Protection) -> bool {
        !self.missing.contains_key(&protection)
    }

    /// Each protection, and if it is not there, why.
    pub fn all(&self) -> impl Iterator<Item = (Protection, Option<&str>)> {
        Protection::ALL
            .into_iter()
            .map(|protection| (protection, self.missing.get(&protection).map(String::as_str)))
    }

    pub fn missing(&self) -> impl Iterator<Item = (Protection, &str)> {
        self.missing.iter().map(|(protection, reason)| (*protection, reason.as_str()))
    }

    /// What a strict app can't do without.
    pub fn missing_for_strict(&self) -> impl Iterator<Item = (Protection, &str)> {
        // Without root every app has the server's user, whom the namespaces make a nobody outside all the same.
        self.missing().filter(|(protection, _)| *protection != Protection::OwnUser)
    }
}

impl Means {
    /// Tries what this machine allows. To be called before any other process is started. `program`: our own binary;
    /// `name`: of this server, among those of the machine.
    pub async fn find(program: PathBuf, name: &str) -> Self {
        let (groups, mut shortfalls) = groups(name);
        let boxes = Boxes::new(program);
        shortfalls.extend(try_box(&boxes).await);
        if !landlock::is_there() {
            shortfalls.push(shortfall(Protection::Landlock, "this system was started without it"));
        }
        Self { boxes, groups: groups.map(Arc::new), strength: Arc::new(Strength::new(shortfalls)) }
    }
}

fn shortfall(protection: Protection, reason: impl Into<String>) -> Shortfall {
    Shortfall { protection, reason: reason.into() }
}

fn groups(name: &str) -> (Option<Cgroups>, Vec<Shortfall>) {
    let opened = Cgroups::open(name);
    let report = match &opened {
        Ok(groups) => groups.report(),
        Err(missing) => missing.report.clone(),
    };
    let protection = |controller| match controller {
        Controller::Memory => Some(Protection::MemoryLimit),
        Controller::Cpu => Some(Protection::ProcessorLimit),
        Controller::Pids => Some(Protection::ProcessLimit),
        // A cell ends all that is in it, and time is only told.
        Controller::Kill | Controller::CpuTime => None,
    };
    let shortfalls = report
        .into_iter()
        .filter_map(|(controller, found)| Some(shortfall(protection(controller)?, found.err()?)));
    (opened.ok(), shortfalls.collect())
}

/// Makes a box in which nothing runs. What fails there would fail in each.
async fn try_box(boxes: &Boxes) -> Vec<Shortfall> {
    let (user, group) = process::user();
    let identity =
        if user == 0 { Identity::Own { user: TRIAL_USER } } else { Identity::Same { user, group } };
    let mount = Mount { path: PathBuf::from("/usr"), access: Access::ReadOnly, owner: None };
    let spec = BoxSpec {
        role: Role::Zygote,
        view: View { mounts: vec![mount], ..View::default() },
        identity,
        network: Network::Own { resolver: true },
        scratch: Scratch { bytes: 1 << 20, files: 16 },
        open_files_max: 64,
        file_bytes_max: 1 << 20,
        processes_max: 64,
        has_namespaces: true,
        asks: true,
        gvisor: None,
    };
    let mut shortfalls = match boxes.make(&spec).await {
        Ok((boxed, port)) => tokio::select! {
            made = boxed.cell() => match made {
                Ok(_cell) => boxed.shortfalls().to_vec(),
                Err(error) => no_box(&error),
            },
            () = port.run() => no_box(&BoxError::Gone),
        },
        Err(error) => no_box(&error),
    };
    if user != 0 {
        shortfalls.push(shortfall(Protection::OwnUser, "only root can give each app a user of its own"));
    } else if shortfalls.iter().any(|one| one.protection == Protection::UserNamespace) {
        shortfalls.extend(try_plain_box(boxes, spec).await);
    }
    shortfalls
}

/// Whether root can give each app a user of its own where there are no namespaces, and end what that user runs: not where
/// it has lost the rights to that.
async fn try_plain_box(boxes: &Boxes, spec: BoxSpec) -> Option<Shortfall> {
    let missing = |reason: String| Some(shortfall(Protection::OwnUser, reason));
    // One folder that is given to the user, as that for temporary files is; and one that is not, as the store's.
    let folders = Temporary::new(spec.identity).and_then(|given| Ok((given, tempfile::tempdir()?)));
    let (given, private) = match folders {
        Ok(folders) => folders,
        Err(error) => return missing(format!("a folder can't be given to another user: {error}")),
    };
    let mount = |path: &Path| Mount { path: path.to_owned(), access: Access::ReadWrite, owner: None };
    let mut view = spec.view;
    view.mounts.extend([given.path(), private.path()].map(mount));
    let spec = BoxSpec { view, has_namespaces: false, network: Network::Host, asks: false, ..spec };
    match boxes.make(&spec).await {
        Ok((boxed, _port)) => {
            let ended = boxed.can_be_ended().err();
            ended.and_then(|error| missing(format!("processes of others can't be ended: {error}")))
        }
        Err(error) => missing(with_cause(&error)),
    }
}

const TRIAL_USER: u32 = 1_610_612_735;

/// Without namespaces, all that is built from them is missing.
fn no_box(error: &BoxError) -> Vec<Shortfall> {
    let reason = with_cause(error);
    let built =
        [Protection::UserNamespace, Protection::FileView, Protection::ProcessNumbers, Protection::OwnNetwork];
    built.map(|protection| shortfall(protection, reason.clone())).to_vec()
}

fn with_cause(error: &BoxError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T-010b: what is missing is known one by one, and strict apps can't do without any but a user of their own.
    #[test]
    fn t_010b_each_protection_that_is_missing_has_its_reason() {
        let strength = Strength::new([
            shortfall(Protection::OwnUser, "not root"),
            shortfall(Protection::MemoryLimit, "no groups"),
        ]);
        assert!(strength.has(Protection::SystemCalls) && !strength.has(Protection::MemoryLimit));
        assert_eq!(strength.all().filter(|(_, reason)| reason.is_some()).count(), 2);
        assert_eq!(
            strength.missing_for_strict().collect::<Vec<_>>(),
            [(Protection::MemoryLimit, "no groups")]
        );
        assert_eq!(Strength::default().missing().count(), 0);
    }
}
