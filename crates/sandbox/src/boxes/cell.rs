//! A cell: what a worker has for itself within its box. Process numbers, `/proc`, `/tmp` and `/dev/shm`.
//!
//! It is made ahead, as making it costs more than a worker may wait. The worker enters it when it is forked (`entry/`).
//! Its process 1 is ours: it reaps what the worker leaves behind, and when the server ends it, the system ends all.

use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink,
};
use std::path::Path;

use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::process::{PidfdFlags, WaitOptions};
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags};

use super::spec::{Access, Answer, BoxSpec, Mount};
use super::sys::{At as _, Done, Side};
use super::view::Tree;
use super::{sys, view, wire};

/// Parts of `/proc` that tell of the machine or change it, and are of no use to a function.
const HIDDEN_FILES: [&str; 6] = ["kcore", "keys", "key-users", "kmsg", "sysrq-trigger", "timer_list"];
const HIDDEN_FOLDERS: [&str; 8] = ["acpi", "bus", "driver", "fs", "irq", "scsi", "sys", "tty"];
/// Depth of folders that is copied from the `/tmp` of the import.
const DEPTH_MAX: usize = 32;

/// Makes the cell and stays as its process 1; the process that calls this ends.
pub(crate) fn make(spec: &BoxSpec, id: u64, socket: &OwnedFd) -> Done {
    super::keeper::unshare(UnshareFlags::NEWPID | UnshareFlags::NEWNS)?;
    match sys::fork().at("fork process 1 of a cell")? {
        Side::Parent(_) => Ok(()),
        Side::Child => {
            settle(spec)?;
            hand_over(id, socket)?;
            rest()
        }
    }
}

fn settle(spec: &BoxSpec) -> Done {
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .at("separate the mounts of a cell")?;
    let hardened = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("proc", "/proc", "proc", hardened, None).at("mount /proc of a cell")?;
    // Not before: a `/proc` with hidden parts would keep cells from mounting theirs.
    hide()?;
    for folder in view::TEMPORARY.map(Path::new) {
        let below = seen_below(spec, folder)?;
        let temporary = view::temporary(spec.scratch, 0o1777)?;
        // What the import has left there, the functions expect to find.
        copy_folder(folder, Path::new(&format!("/proc/self/fd/{}", temporary.as_raw_fd())), 0);
        view::move_to(&temporary, folder)?;
        for tree in &below {
            view::put(tree)?;
        }
    }
    Ok(())
}

/// What of the view is mounted in a folder that a cell has of its own; it has to be there again.
fn seen_below(spec: &BoxSpec, folder: &Path) -> Done<Vec<Tree>> {
    let in_folder = |mount: &&Mount| mount.path.starts_with(folder) && mount.access != Access::Hidden;
    // What is hidden is below something that is seen, and comes with it; else it is not there to begin with.
    let mounts: Vec<&Mount> = spec.view.mounts.iter().filter(in_folder).collect();
    let mut trees = Vec::new();
    for mount in &mounts {
        // With a mount comes what is mounted below it.
        if mounts.iter().any(|other| other.path != mount.path && mount.path.starts_with(&other.path)) {
            continue;
        }
        if let Some(tree) = view::open_tree(&mount.path)? {
            trees.push(Tree { path: mount.path.clone(), access: mount.access, tree: Some(tree) });
        }
    }
    Ok(trees)
}

pub(crate) fn hide() -> Done {
    for name in HIDDEN_FILES {
        let path = Path::new("/proc").join(name);
        if path.exists() {
            rustix::mount::mount_bind("/dev/null", &path).at_path("hide", &path)?;
        }
    }
    let nothing = super::spec::Scratch { bytes: 4096, files: 2 };
    for name in HIDDEN_FOLDERS {
        let path = Path::new("/proc").join(name);
        if path.is_dir() {
            view::mount_temporary(nothing, 0o555, &path)?;
        }
    }
    Ok(())
}

/// Copies files, folders and links; what can't be copied is left out, as it would be after a restart.
fn copy_folder(from: &Path, to: &Path, depth: usize) {
    let Ok(entries) = fs::read_dir(from) else { return };
    let system = fs::symlink_metadata(from).map(|found| found.dev()).ok();
    for entry in entries.flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        // What is mounted there is mounted again.
        if fs::symlink_metadata(&source).map(|found| found.dev()).ok() != system {
            continue;
        }
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth < DEPTH_MAX {
            let mode = entry.metadata().map_or(0o700, |found| found.permissions().mode() & 0o7777);
            if fs::DirBuilder::new().mode(mode).create(&target).is_ok() {
                copy_folder(&source, &target, depth + 1);
            }
        } else if kind.is_symlink() {
            fs::read_link(&source).and_then(|leads_to| symlink(leads_to, &target)).ok();
        } else if kind.is_file() {
            copy_file(&source, &target).ok();
        }
    }
}

fn copy_file(source: &Path, target: &Path) -> std::io::Result<()> {
    // The import may change what is there meanwhile: a link is not followed, and a pipe is not waited for.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(source)?;
    let found = file.metadata()?;
    let mut options = fs::OpenOptions::new();
    let mut copy =
        options.write(true).create_new(true).mode(found.permissions().mode() & 0o7777).open(target)?;
    std::io::copy(&mut std::io::Read::take(file, found.len()), &mut copy).map(drop)
}

fn hand_over(id: u64, socket: &OwnedFd) -> Done {
    let own =
        rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).at("open a cell")?;
    let open = |name: &str| fs::File::open(Path::new("/proc/self/ns").join(name)).at("open a cell");
    let (numbers, mounts) = (open("pid")?, open("mnt")?);
    wire::send(socket, &Answer::Cell { id }, &[own.as_fd(), numbers.as_fd(), mounts.as_fd()])
        .at("hand over a cell")
}

/// Reaps for as long as the cell lives. It has no rights and no descriptors any more.
fn rest() -> ! {
    sys::close_from(0);
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: none, permitted: none, inheritable: none },
    )
    .ok();
    rustix::thread::set_no_new_privs(true).ok();
    let Ok(signals) = sys::child_signals() else { sys::leave(1) };
    let mut unused = [0; 128];
    loop {
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
        let mut watched = [rustix::event::PollFd::new(&signals, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut watched, None).ok();
        rustix::io::read(&signals, &mut unused).ok();
    }
}
