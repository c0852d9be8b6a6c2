//! Where programs that install packages run. Packages run code of their own while they are built, so it is a box without
//! anything that is not theirs: no setting of the app, no variable of the server, no folder of its user.
//!
//! Without means, or for an app that is to have no isolation, such programs run as the user who starts them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ingle_sandbox::boxes::machine::{self, Crowd};
use ingle_sandbox::boxes::{self, Access, BoxSpec, Mount, Network, Protection, Role, Scratch};
use ingle_sandbox::cgroup::{Leaf, Limits};
use ingle_sandbox::command::{Command, Error, Output, Stream, run_with};
use ingle_sandbox::egress::policy::Policy;
use ingle_sandbox::egress::{Refused, Rules};
use ingle_sandbox::means::Means;
use ingle_sandbox::{memory, remove};
use ingle_types::spec::{Egress, Isolation};

use crate::environment::MISLEADING;
use crate::folder::{AppFolder, ReadOptions};

mod sources;
mod variables;

use sources::Sources;

/// Files of an app that hold its secrets and are nothing that is built.
const SECRET: [&str; 3] = [".ingle", "local.settings.json", ".env"];

/// Of `/tmp`, and of the layer that takes what is written beside the app. Large files go to the disk.
const SCRATCH: Scratch = Scratch { bytes: 1 << 30, files: 200_000 };
const OPEN_FILES: u64 = 4096;
/// The largest wheels have some gigabytes.
const FILE_BYTES: u64 = 16 << 30;
const PROCESSES: u64 = 4096;

/// What a line begins with that is about a program and not of it.
const OURS: &str = "ingle: ";

/// Different connections of one program whose refusal is told.
const REFUSALS_TOLD: usize = 20;

/// What the programs need besides Python and the index of packages.
#[derive(Default)]
pub(crate) struct Needs {
    /// Interpreters, each with its packages.
    pub(crate) pythons: Vec<PathBuf>,
    pub(crate) read: Vec<PathBuf>,
    pub(crate) write: Vec<PathBuf>,
    /// A folder for what is temporary; also the home of the programs.
    pub(crate) work: PathBuf,
    /// Where installers keep what they have downloaded and built. What a package has written there while it was built is
    /// installed by whoever has the same folder, so only those have it who have the same package.
    pub(crate) downloads: PathBuf,
    /// Whether they build what is in the app's folder.
    pub(crate) app: bool,
}

/// Runs programs, confined or not.
pub(crate) struct Bench<'a> {
    options: &'a ReadOptions,
    confined: Option<Confined>,
}

struct Confined {
    means: Means,
    spec: BoxSpec,
    egress: Option<boxes::Egress>,
    refused: Arc<Mutex<Vec<Refused>>>,
    variables: BTreeMap<String, String>,
}

/// Whether programs that are run for the app are confined.
pub(crate) fn is_confined(folder: &AppFolder, options: &ReadOptions) -> bool {
    means(folder, options).is_some()
}

fn means<'a>(folder: &AppFolder, options: &'a ReadOptions) -> Option<&'a Means> {
    options.means.as_ref().filter(|_| folder.isolation(options) != Isolation::Off)
}

pub(crate) fn is_ours(line: &str) -> bool {
    line.starts_with(OURS)
}

/// A folder for what is there only while something is built.
pub(crate) struct Work(PathBuf);

impl Work {
    pub(crate) fn make(path: PathBuf) -> io::Result<Self> {
        // Of a build that did not come to its end. What can't be removed is not worth stopping for.
        remove::tree(&path).ok();
        for name in ["tmp", "cache"] {
            std::fs::create_dir_all(path.join(name))?;
        }
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        remove::tree(&self.0).ok();
    }
}

impl<'a> Bench<'a> {
    pub(crate) fn new(folder: &AppFolder, options: &'a ReadOptions, needs: &Needs) -> Self {
        let confined = means(folder, options).map(|means| {
            // What can be seen has to be there; without it there is no cache, and nothing else is lost.
            std::fs::create_dir_all(&needs.downloads).ok();
            Confined::new(means, folder, options, needs)
        });
        Self { options, confined }
    }

    pub(crate) fn is_confined(&self) -> bool {
        self.confined.is_some()
    }

    /// Runs a program to its end.
    ///
    /// # Errors
    /// Those of [`run_with`]. A status other than 0 is none.
    pub(crate) async fn run(
        &self,
        program: &Path,
        arguments: &[&str],
        (directory, timeout): (&Path, Duration),
        on_line: &mut impl FnMut(Stream, &str),
    ) -> Result<Output, Error> {
        let env = match &self.confined {
            Some(confined) => confined.variables.clone(),
            None => self.inherited(),
        };
        let command = Command {
            program: program.to_owned(),
            args: arguments.iter().map(Into::into).collect(),
            env,
            cwd: directory.to_owned(),
            timeout,
        };
        match &self.confined {
            Some(confined) => confined.run(command, on_line).await,
            None => run_with(command, on_line).await,
        }
    }

    fn inherited(&self) -> BTreeMap<String, String> {
        let mut variables = self.options.environment.clone();
        variables.retain(|name, _| !MISLEADING.contains(&name.as_str()));
        variables.insert("PYTHONUNBUFFERED".to_owned(), "1".to_owned());
        variables
    }
}

impl Confined {
    fn new(means: &Means, folder: &AppFolder, options: &ReadOptions, needs: &Needs) -> Self {
        let strength = &means.strength;
        let sources = Sources::find(folder, options, needs);
        let network = match &folder.sandbox.egress {
            Some(Egress::All) => Network::Host,
            _ if !strength.has(Protection::OwnNetwork) => Network::Host,
            _ => Network::Own { resolver: true },
        };
        let identity = machine::identity(&folder.root, Crowd::Builders, strength);
        let has_namespaces = strength.has(Protection::UserNamespace);
        let mut view = machine::view(network);
        view.mounts.extend(mounts(folder, options, needs, &sources));
        for path in needs.pythons.iter().chain(&needs.read).chain(&sources.paths) {
            machine::follow_links(path, &mut view.links);
        }
        if !has_namespaces {
            // There is no view then, only a list of what may be read.
            let settings =
                ["/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/passwd", "/etc/group", "/etc/localtime"];
            view.mounts.extend(settings.map(|path| Mount {
                path: path.into(),
                access: Access::ReadOnly,
                owner: None,
            }));
        }
        let refused = Arc::<Mutex<Vec<Refused>>>::default();
        let egress = (network != Network::Host).then(|| boxes::Egress {
            rules: Arc::new(Rules::new(Policy::Public { also: sources.hosts.clone() })),
            resolver: machine::resolver(),
            on_refused: remember(refused.clone()),
        });
        let spec = BoxSpec {
            role: Role::Program,
            view,
            identity,
            network,
            scratch: SCRATCH,
            open_files_max: OPEN_FILES,
            file_bytes_max: FILE_BYTES,
            processes_max: PROCESSES,
            has_namespaces,
            asks: egress.is_some(),
            gvisor: None,
        };
        let variables = variables::of_builders(options, needs, &sources);
        Self { means: means.clone(), spec, egress, refused, variables }
    }

    async fn run(&self, command: Command, on_line: &mut impl FnMut(Stream, &str)) -> Result<Output, Error> {
        let result =
            boxes::run(&self.means.boxes, &self.spec, (self.egress.as_ref(), self.group()), command, on_line);
        let result = result.await;
        for refused in self.refused.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            on_line(Stream::Stderr, &format!("{OURS}{refused} (E0315)"));
        }
        result
    }

    /// Limits for what a build may use, where this machine has control groups.
    fn group(&self) -> Option<Leaf> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // Compilers want more than a function does. But the machine has others to serve.
        let memory = memory::of_the_machine() / 4 * 3;
        let limits =
            Limits { memory: (memory > 0).then_some(memory), pids: Some(PROCESSES), ..Limits::default() };
        let name = format!("builder-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        // Without one there are the limits of each process, and the box.
        self.means.groups.as_ref()?.leaf(&name, &limits).ok()
    }
}

fn remember(refused: Arc<Mutex<Vec<Refused>>>) -> Arc<dyn Fn(Refused) + Send + Sync> {
    Arc::new(move |one| {
        let mut refused = refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() < REFUSALS_TOLD && !refused.contains(&one) {
            refused.push(one);
        }
    })
}

/// What is seen besides the machine's own programs.
fn mounts(folder: &AppFolder, options: &ReadOptions, needs: &Needs, sources: &Sources) -> Vec<Mount> {
    let mut read: BTreeSet<PathBuf> =
        needs.pythons.iter().flat_map(|python| machine::interpreter_folders(python)).collect();
    read.extend(sources.paths.iter().chain(&needs.read).cloned());
    read.extend(folder.requirements.files.iter().filter(|file| is_visible(file, &folder.root)).cloned());
    let mut write: BTreeSet<PathBuf> = needs.write.iter().cloned().collect();
    write.extend([needs.work.clone(), needs.downloads.clone()]);
    let mut mounts = Vec::new();
    let mut see = |path: &Path, access| {
        // What is in the system's folders is there already.
        let is_there = access == Access::ReadOnly && path.starts_with("/usr");
        if !is_there && path.exists() && path.parent().is_some() {
            mounts.push(machine::mount(path.to_owned(), access));
        }
    };
    if needs.app {
        see(&folder.root, Access::Discarded);
        for place in &folder.requirements.places {
            see(place, if place.is_dir() { Access::Discarded } else { Access::ReadOnly });
        }
    }
    for path in read.iter().filter(|path| !needs.app || !path.starts_with(&folder.root)) {
        see(path, Access::ReadOnly);
    }
    for path in &write {
        see(path, Access::ReadWrite);
    }
    let secret = SECRET.iter().map(|name| folder.root.join(name)).chain(options.state.clone());
    let hidden = secret.filter(|_| needs.app).map(|path| machine::real(&path));
    mounts.extend(hidden.map(|path| Mount { path, access: Access::Hidden, owner: None }));
    mounts
}

/// A file that is included may be anything of the machine; what builders see must look like a list of requirements.
fn is_visible(file: &Path, root: &Path) -> bool {
    file.starts_with(root) || file.extension().is_some_and(|end| end == "txt" || end == "in")
}

/// What an installer has left may belong to the server's own user, who can do more than its author: no program of it
/// runs as its owner.
pub(crate) fn drop_set_user_bits(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        // Of the entry itself, never of what a link leads to.
        let Ok(found) = entry.metadata() else { continue };
        let mode = found.permissions().mode();
        if found.is_file() && mode & 0o6000 != 0 {
            std::fs::set_permissions(entry.path(), std::fs::Permissions::from_mode(mode & 0o1777)).ok();
        } else if found.is_dir() {
            drop_set_user_bits(&entry.path());
        }
    }
}
