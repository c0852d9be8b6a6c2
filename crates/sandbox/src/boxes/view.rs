//! The file system of a box: an empty one, into which what is to be seen is mounted.

use std::fs::{self, DirBuilder};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};

use super::spec::{Access, BoxSpec, Identity, Mount, Protection, Scratch, Shortfall};
use super::sys::{At as _, Attributes, Done};
use super::{maker, sys};

/// Where the host's file system is while the view is built. It is gone before anything of the app runs.
const OLD: &str = "/.old";
/// Of the device folder only these; each can do no more than what everybody may.
pub(crate) const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Folders for everybody's files, in memory. Each worker gets its own of these.
pub(crate) const TEMPORARY: [&str; 2] = ["/tmp", "/dev/shm"];
/// Room for the folders and small files of the view itself.
const ROOT: Scratch = Scratch { bytes: 4 << 20, files: 4096 };

/// Something of the host, opened and not yet in its place.
pub(crate) struct Tree {
    pub(crate) path: PathBuf,
    pub(crate) access: Access,
    /// `None` for what is hidden.
    pub(crate) tree: Option<OwnedFd>,
}

/// Opens everything that will be seen, in the order in which it has to be mounted: what is above first.
pub(crate) fn open_all(spec: &BoxSpec, shortfalls: &mut Vec<Shortfall>) -> Done<Vec<Tree>> {
    let mut mounts: Vec<&Mount> = spec.view.mounts.iter().collect();
    mounts.sort_by_key(|mount| mount.path.components().count());
    let mut trees = Vec::new();
    for mount in mounts {
        if mount.access == Access::Hidden {
            trees.push(Tree { path: mount.path.clone(), access: mount.access, tree: None });
        } else if let Some(tree) = open_tree(&mount.path)? {
            restrict(&tree, mount, spec.identity, shortfalls)?;
            trees.push(Tree { path: mount.path.clone(), access: mount.access, tree: Some(tree) });
        }
    }
    for device in DEVICES {
        let path = Path::new("/dev").join(device);
        if let Some(tree) = open_tree(&path)? {
            let private = Attributes { is_recursive: true, ..Attributes::default() };
            sys::set_attributes(&tree, private).at_path("separate", &path)?;
            trees.push(Tree { path, access: Access::ReadWrite, tree: Some(tree) });
        }
    }
    Ok(trees)
}

/// A copy of what is mounted there, with what is mounted below; `None` if there is nothing.
pub(crate) fn open_tree(path: &Path) -> Done<Option<OwnedFd>> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    match rustix::mount::open_tree(CWD, path, flags) {
        Err(rustix::io::Errno::NOENT) => Ok(None),
        opened => opened.map(Some).at_path("open", path),
    }
}

fn restrict(tree: &OwnedFd, mount: &Mount, identity: Identity, shortfalls: &mut Vec<Shortfall>) -> Done {
    let mut set = sys::NO_SET_USER | sys::NO_DEVICES;
    if matches!(mount.access, Access::ReadOnly | Access::Discarded) {
        set |= sys::READ_ONLY;
    }
    let step = "restrict what is mounted from";
    if let (Some(owner), Identity::Own { user }) = (mount.owner, identity) {
        let users = maker::users_of(owner, user)?;
        let attributes = Attributes { set, users: Some(&users), is_recursive: true };
        match sys::set_attributes(tree, attributes) {
            Ok(()) => return Ok(()),
            // Not every file system can do that; what everybody may read can be read all the same.
            Err(error) => shortfalls.push(Shortfall {
                protection: Protection::OwnUser,
                reason: format!("files below {} keep their owner: {error}", mount.path.display()),
            }),
        }
    }
    sys::set_attributes(tree, Attributes { set, users: None, is_recursive: true }).at_path(step, &mount.path)
}

/// Builds the view and leaves nothing else. Must run as process 1 of its process numbers.
pub(crate) fn build(spec: &BoxSpec, trees: Vec<Tree>) -> Done {
    // Nothing that is mounted here is ever seen outside.
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .at("separate the mounts")?;
    enter_empty_root()?;
    // Before the others: an app may well be in a folder below.
    for path in TEMPORARY {
        make_folder(Path::new(path), 0o1777)?;
        mount_temporary(spec.outer_scratch(), 0o1777, Path::new(path))?;
    }
    let mut hidden = Vec::new();
    for tree in &trees {
        // What is not there now may come to be there with what is mounted below it, and is no mount then.
        if tree.access == Access::Hidden && tree.path.is_dir() {
            hidden.push(&tree.path);
        }
        put(tree)?;
        if tree.access == Access::Discarded && tree.path.is_dir() {
            cover(spec, &tree.path);
        }
    }
    // While the host's is still to be seen: without it the system does not let us mount another.
    make_folder(Path::new("/proc"), 0o555)?;
    let hardened = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("proc", "/proc", "proc", hardened, None).at("mount /proc")?;
    fill_devices()?;
    write_files(spec)?;
    // From here on the host can't be reached by any path.
    rustix::mount::unmount(OLD, UnmountFlags::DETACH).at("leave the host's files")?;
    fs::remove_dir(OLD).at("leave the host's files")?;
    for path in hidden {
        seal(path)?;
    }
    seal(Path::new("/"))
}

/// Makes an empty file system the root, with the former one below it.
fn enter_empty_root() -> Done {
    let root = Path::new("/tmp");
    mount_temporary(ROOT, 0o755, root)?;
    rustix::process::chdir(root).at("enter the new root")?;
    fs::create_dir(".old").at("make the new root")?;
    rustix::process::pivot_root(".", ".old").at("change the root")?;
    rustix::process::chdir("/").at("enter the new root")
}

/// A file system in memory of limited size, mounted at a folder.
pub(crate) fn mount_temporary(scratch: Scratch, mode: u32, at: &Path) -> Done {
    let mounted = temporary(scratch, mode)?;
    move_to(&mounted, at)
}

/// The same, not yet in its place.
pub(crate) fn temporary(scratch: Scratch, mode: u32) -> Done<OwnedFd> {
    let step = "make a temporary file system";
    let system = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).at(step)?;
    let system = system.as_fd();
    let set = |key: &str, value: String| rustix::mount::fsconfig_set_string(system, key, value).at(step);
    set("size", scratch.bytes.to_string())?;
    set("nr_inodes", scratch.files.to_string())?;
    set("mode", format!("{mode:o}"))?;
    rustix::mount::fsconfig_create(system).at(step)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    rustix::mount::fsmount(system, FsMountFlags::FSMOUNT_CLOEXEC, attributes).at(step)
}

pub(crate) fn move_to(mounted: &OwnedFd, at: &Path) -> Done {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(mounted, "", CWD, at, flags).at_path("mount", at)
}

pub(crate) fn put(tree: &Tree) -> Done {
    let Some(mounted) = &tree.tree else { return hide(&tree.path) };
    let is_folder =
        rustix::fs::fstat(mounted).at_path("look at", &tree.path)?.st_mode & libc::S_IFMT == libc::S_IFDIR;
    if is_folder {
        make_folder(&tree.path, 0o755)?;
    } else {
        make_file(&tree.path, "")?;
    }
    move_to(mounted, &tree.path)
}

/// There is nothing to be hidden where nothing is.
fn hide(path: &Path) -> Done {
    if path.is_dir() {
        mount_temporary(ROOT, 0o755, path)?;
    } else if path.is_file() {
        let nothing = Path::new("/.nothing");
        make_file(nothing, "")?;
        rustix::mount::mount_bind(nothing, path).at_path("hide", path)?;
    }
    Ok(())
}

/// Puts a layer in memory over a folder that is read-only, which takes what is written there and goes with the box. Not
/// each system lets us do that (overlayfs in a namespace: Linux 5.11, over mapped users 5.19); then the folder stays
/// read-only, and whoever wants to write is told.
fn cover(spec: &BoxSpec, path: &Path) {
    let covered = || -> Done {
        let step = "make a layer over";
        let layer = Path::new("/.layer");
        make_folder(layer, 0o700)?;
        mount_temporary(spec.scratch, 0o755, layer)?;
        let made = layered(path, layer);
        // The layer keeps what it needs of it; nobody else finds it.
        rustix::mount::unmount(layer, UnmountFlags::DETACH).at_path(step, path)?;
        move_to(&made?, path)
    };
    covered().ok();
}

fn layered(path: &Path, layer: &Path) -> Done<OwnedFd> {
    let step = "make a layer over";
    let (upper, work) = (layer.join("upper"), layer.join("work"));
    fs::create_dir(&upper).at_path(step, path)?;
    fs::create_dir(&work).at_path(step, path)?;
    let system = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).at_path(step, path)?;
    let set = |key: &str, value: &[u8]| {
        let value = std::ffi::CString::new(value).at_path(step, path)?;
        rustix::mount::fsconfig_set_string(system.as_fd(), key, value.as_c_str()).at_path(step, path)
    };
    // A colon would separate two folders.
    let bytes = path.as_os_str().as_encoded_bytes().iter();
    let escape = |byte: &u8| if matches!(byte, b':' | b'\\') { vec![b'\\', *byte] } else { vec![*byte] };
    set("lowerdir", &bytes.flat_map(escape).collect::<Vec<u8>>())?;
    set("upperdir", upper.as_os_str().as_encoded_bytes())?;
    set("workdir", work.as_os_str().as_encoded_bytes())?;
    // What the layer notes about files is noted as any user may; the other way is for those with rights on the host.
    rustix::mount::fsconfig_set_flag(system.as_fd(), "userxattr").at_path(step, path)?;
    rustix::mount::fsconfig_create(system.as_fd()).at_path(step, path)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    rustix::mount::fsmount(system.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).at_path(step, path)
}

fn make_folder(path: &Path, mode: u32) -> Done {
    if !path.is_dir() {
        DirBuilder::new().recursive(true).mode(mode).create(path).at_path("make the folder", path)?;
    }
    Ok(())
}

fn make_file(path: &Path, content: &str) -> Done {
    if path.exists() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_folder(parent, 0o755)?;
    }
    let mut options = fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o644).open(path);
    opened
        .and_then(|mut file| std::io::Write::write_all(&mut file, content.as_bytes()))
        .at_path("write", path)
}

fn fill_devices() -> Done {
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "fd/0"),
        ("stdout", "fd/1"),
        ("stderr", "fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        let path = Path::new("/dev").join(name);
        symlink(target, &path).at_path("make the link", &path)?;
    }
    let path = Path::new("/dev/pts");
    make_folder(path, 0o755)?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    // All boxes share what the machine has (/proc/sys/kernel/pty/max).
    let options = c"newinstance,ptmxmode=0666,mode=0620,max=64";
    rustix::mount::mount("devpts", path, "devpts", flags, Some(options)).at("mount /dev/pts")
}

fn write_files(spec: &BoxSpec) -> Done {
    for (path, content) in &spec.view.files {
        make_file(path, content)?;
    }
    for (path, target) in &spec.view.links {
        if fs::symlink_metadata(path).is_err() {
            if let Some(parent) = path.parent() {
                make_folder(parent, 0o755)?;
            }
            symlink(target, path).at_path("make the link", path)?;
        }
    }
    Ok(())
}

/// Nothing can be written there any more; what is mounted below stays as it is.
fn seal(path: &Path) -> Done {
    let flags = OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mounted = rustix::mount::open_tree(CWD, path, flags).at_path("open", path)?;
    let attributes = Attributes { set: sys::READ_ONLY, users: None, is_recursive: false };
    sys::set_attributes(&mounted, attributes).at_path("seal", path)
}
