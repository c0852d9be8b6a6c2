//! The group of one worker: its limits, who is in it, what it uses, and its end.

use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::oom::Watch;
use super::{Controller, Limits, OutOfMemory, Shared, Version, files, kill, oom};

const NAME_BYTES_MAX: usize = 64;

/// The number of a process in decimal digits is no longer than this.
const DIGITS_MAX: usize = 10;

/// The group of one worker. Dropping it ends what runs in it, and removes it; what can't be removed at once, as it is
/// still dying, is left to [`super::Cgroups::sweep`].
#[derive(Debug)]
pub struct Leaf {
    name: String,
    shared: Arc<Shared>,
    groups: Vec<Group>,
    entrance: Entrance,
    limits: Limits,
    watch: OnceLock<Option<Watch>>,
    is_removed: bool,
}

/// The leaf's folder in one tree.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) folder: PathBuf,
    pub(super) version: Version,
    controllers: Vec<Controller>,
}

/// What a leaf uses now. `None` is what this machine does not tell.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Usage {
    /// With the page cache, and without what a process had before it was attached.
    pub memory_bytes: Option<u64>,
    pub peak_bytes: Option<u64>,
    pub cpu_time: Option<Duration>,
    /// Processes and threads, also those that have ended and whose status nobody has taken yet.
    pub pids: Option<u64>,
}

/// The way into a leaf, open for as long as this exists: joining takes one system call for each tree.
#[derive(Clone, Debug)]
pub struct Entrance(Arc<[OwnedFd]>);

impl Entrance {
    /// Moves the calling process in. May be called between fork and exec: it allocates nothing and takes no lock. What
    /// starts so was never outside.
    ///
    /// # Errors
    /// Those of the kernel, e.g. that the leaf is gone.
    pub fn enter(&self) -> io::Result<()> {
        // To the kernel, 0 is whoever writes it.
        self.write(b"0")
    }

    /// Moves a process in, with all its threads. Its children stay where they are, and memory that it has already is
    /// counted where it was.
    ///
    /// Blocks for some 10 ms if nothing was moved on this machine just before, in whichever tree: the kernel waits until
    /// no processor is forking. So move what is not waited for yet; what it forks later is in the leaf for nothing.
    ///
    /// # Errors
    /// Those of the kernel, e.g. that there is no such process.
    pub fn admit(&self, process: u32) -> io::Result<()> {
        if process == 0 {
            // That would be the server itself.
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no process has the number 0"));
        }
        let mut digits = [0; DIGITS_MAX];
        let mut rest = &mut digits[..];
        write!(rest, "{process}")?;
        let unused = rest.len();
        self.write(&digits[..DIGITS_MAX - unused])
    }

    /// For a process that starts another one by itself: [`Entrance::enter_by`] is for what it starts.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = &OwnedFd> {
        self.0.iter()
    }

    /// As [`Entrance::enter`], by descriptors that came from elsewhere.
    pub(crate) fn enter_by(descriptors: &[OwnedFd]) -> io::Result<()> {
        for group in descriptors {
            rustix::io::write(group, b"0")?;
        }
        Ok(())
    }

    fn write(&self, process: &[u8]) -> io::Result<()> {
        for group in self.0.iter() {
            rustix::io::write(group, process)?;
        }
        Ok(())
    }
}

impl Leaf {
    pub(super) fn make(shared: Arc<Shared>, name: &str, limits: &Limits) -> io::Result<Self> {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_fit) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a leaf can't be named {name:?}"),
            ));
        }
        limits.check()?;
        shared.reclaim(name);
        let mut groups = Vec::with_capacity(shared.parents.len());
        let made = make_groups(&shared, name, limits, &mut groups);
        let entrance = made.inspect_err(|_| {
            for group in &groups {
                // They are empty; should it fail, they go with the server's folder.
                files::remove_tree(&group.folder).ok();
            }
        })?;
        Ok(Self {
            name: name.to_owned(),
            shared,
            groups,
            entrance: Entrance(entrance.into()),
            limits: *limits,
            watch: OnceLock::new(),
            is_removed: false,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// For a child that is to be in the leaf before it runs anything.
    pub fn entrance(&self) -> Entrance {
        self.entrance.clone()
    }

    /// As [`Entrance::admit`].
    ///
    /// # Errors
    /// As [`Entrance::admit`].
    pub fn attach(&self, process: u32) -> io::Result<()> {
        self.entrance.admit(process)
    }

    pub fn usage(&self) -> Usage {
        Usage {
            memory_bytes: self.number(Controller::Memory, "memory.usage_in_bytes", "memory.current"),
            peak_bytes: self.peak_bytes(),
            cpu_time: self.cpu_time(),
            pids: self.number(Controller::Pids, "pids.current", "pids.current"),
        }
    }

    fn peak_bytes(&self) -> Option<u64> {
        self.number(Controller::Memory, "memory.max_usage_in_bytes", "memory.peak")
    }

    fn number(&self, controller: Controller, v1: &str, v2: &str) -> Option<u64> {
        let group = self.group(controller)?;
        files::number(&group.folder, if group.version == Version::V1 { v1 } else { v2 })
    }

    /// Processes in it, as far as they have a number here.
    pub fn processes(&self) -> Vec<i32> {
        let group = self.group(Controller::Pids).or_else(|| self.groups.first());
        group.map(|group| files::processes_below(&group.folder)).unwrap_or_default()
    }

    /// The processor time that was used. `None` if the machine does not tell.
    pub fn cpu_time(&self) -> Option<Duration> {
        let group = self.group(Controller::CpuTime)?;
        match group.version {
            Version::V1 => files::number(&group.folder, "cpuacct.usage").map(Duration::from_nanos),
            Version::V2 => {
                files::keyed_number(&group.folder, "cpu.stat", "usage_usec").map(Duration::from_micros)
            }
        }
    }

    /// Lets what is in it have the processor only when nobody beside it wants it, or takes that back. It always gets a
    /// little, about one part in 300.
    ///
    /// # Errors
    /// Those of the kernel; without a group for the processor nothing happens.
    pub fn give_way(&self, gives_way: bool) -> io::Result<()> {
        let Some(group) = self.group(Controller::Cpu) else { return Ok(()) };
        match files::write(&group.folder, "cpu.idle", if gives_way { "1" } else { "0" }) {
            Ok(()) if gives_way => return Ok(()),
            // One that is no longer idle has forgotten its weight.
            Ok(()) => {}
            // Before Linux 5.15 the weight is what there is.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.limits.weight(gives_way, group.version).write(&group.folder)
    }

    pub(super) fn group(&self, controller: Controller) -> Option<&Group> {
        self.groups.iter().find(|group| group.controllers.contains(&controller))
    }

    /// Whether the kernel has ended processes of the leaf for want of memory.
    pub fn out_of_memory(&self) -> Option<OutOfMemory> {
        let group = self.group(Controller::Memory)?;
        let kills = oom::kills(&group.folder, group.version).filter(|kills| *kills > 0)?;
        // Kernels before 5.19 tell no peak in v2. As memory ran out, it was at the limit.
        let peak_bytes = self.peak_bytes().or(self.limits.memory).unwrap_or(0);
        Some(OutOfMemory { peak_bytes, limit_bytes: self.limits.memory, kills })
    }

    /// Waits until the kernel has ended a process of the leaf for want of memory; for ever if it is not told. In v1 the
    /// others go on, without what the dead one had to give, so whoever waits should [`Self::kill`] them.
    ///
    /// May be dropped and called again, as in a `select!` in a loop. Must be called within a runtime.
    pub async fn oom_happened(&self) {
        let Some(group) = self.group(Controller::Memory) else { return std::future::pending().await };
        let watch = self.watch.get_or_init(|| Watch::start(&group.folder, group.version).ok());
        oom::killed(&group.folder, group.version, watch.as_ref()).await;
    }

    /// Ends every process, also one that is forked meanwhile, and waits until none is left.
    ///
    /// # Errors
    /// Nothing on this machine can do that, or a process does not end within ten seconds.
    pub async fn kill(&self) -> io::Result<()> {
        let group = self.group(Controller::Kill).ok_or_else(cannot_kill)?;
        kill::until_empty(&group.folder, group.version).await
    }

    /// As [`Self::kill`], without waiting.
    ///
    /// # Errors
    /// Nothing on this machine can do that.
    pub fn start_kill(&self) -> io::Result<()> {
        let group = self.group(Controller::Kill).ok_or_else(cannot_kill)?;
        kill::pass(&group.folder, group.version)
    }

    /// Ends what runs in the leaf and removes it.
    ///
    /// # Errors
    /// Processes do not end within some seconds. Then it is left to [`super::Cgroups::sweep`].
    pub async fn remove(mut self) -> io::Result<()> {
        if self.try_remove().is_err() {
            // If it can't be killed, it may still end by itself.
            self.start_kill().ok();
            kill::until(async |_| match self.try_remove() {
                Err(error) if files::is_busy(&error) => Ok(false),
                result => result.map(|()| true),
            })
            .await?;
        }
        self.is_removed = true;
        Ok(())
    }

    /// Removes what is empty by now. Fails with the first error, but tries in every tree.
    fn try_remove(&self) -> io::Result<()> {
        let mut result = Ok(());
        for group in &self.groups {
            result = result.and(files::remove_tree(&group.folder));
        }
        result
    }
}

fn cannot_kill() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "this machine has no control group that can be killed")
}

/// Makes the group in each tree; those in `groups` were made, also if it fails.
fn make_groups(
    shared: &Shared,
    name: &str,
    limits: &Limits,
    groups: &mut Vec<Group>,
) -> io::Result<Vec<OwnedFd>> {
    let mut entrance = Vec::with_capacity(shared.parents.len());
    for parent in &shared.parents {
        let folder = parent.leaf(name);
        std::fs::create_dir(&folder)
            .map_err(|error| files::told(&error, &format!("{} could not be made", folder.display())))?;
        groups.push(Group { folder, version: parent.version, controllers: parent.controllers.clone() });
        let Some(Group { folder, version, controllers }) = groups.last() else { continue };
        for setting in controllers.iter().flat_map(|controller| limits.settings(*controller, *version)) {
            setting.write(folder)?;
        }
        entrance.push(files::open_to_write(folder, "cgroup.procs")?);
    }
    Ok(entrance)
}

impl Drop for Leaf {
    fn drop(&mut self) {
        if self.is_removed || self.try_remove().is_ok() {
            return;
        }
        // If it can't be killed, or is still dying, the sweep comes back to it.
        self.start_kill().ok();
        if self.try_remove().is_err() {
            self.shared.abandon(std::mem::take(&mut self.name));
        }
    }
}
