//! What every box has of the machine, and where its users come from.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use super::spec::{Access, Identity, Mount, Network, Protection, USER_INSIDE, View};
use crate::egress::resolver::Configuration;
use crate::means::Strength;

/// What everybody has of the machine: programs and libraries, without which no interpreter starts.
const SYSTEM: [&str; 1] = ["/usr"];
/// Folders that are links into `/usr` on most machines, and folders on others.
const SYSTEM_LINKS: [&str; 5] = ["/bin", "/lib", "/lib32", "/lib64", "/sbin"];
/// Settings of the machine that libraries read: none of them is a secret of anybody.
const SETTINGS: [&str; 10] = [
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/fonts",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/mime.types",
    "/etc/pki",
    "/etc/services",
    "/etc/protocols",
    "/etc/ssl",
];
/// Of these what only root may read: a box may have its rights where files can't be lent to others.
const SECRET_SETTINGS: [&str; 2] = ["/etc/ssl/private", "/etc/pki/tls/private"];
/// First user of those that stand for apps. Far from those of people, services and other containers.
const FIRST_USER: u32 = 1_610_612_736;
const USERS: u32 = 1 << 24;

/// For whom a user stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crowd {
    Functions,
    /// What builds the environment of an app.
    Builders,
}

/// The same user for the same folder, so that what an app has written stays its own.
pub fn user_of(root: &Path, crowd: Crowd) -> u32 {
    // FNV-1a, as the number has to be the same in each build.
    let hash = root
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    let first = match crowd {
        Crowd::Functions => FIRST_USER,
        Crowd::Builders => FIRST_USER + USERS,
    };
    first + hash % USERS
}

/// As whom an app's processes run: root gives each a user of its own, where it can.
pub fn identity(root: &Path, crowd: Crowd, strength: &Strength) -> Identity {
    match crate::process::user() {
        (0, _) if !strength.has(Protection::OwnUser) => Identity::Same { user: 0, group: 0 },
        (0, _) if strength.has(Protection::UserNamespace) => Identity::Own { user: user_of(root, crowd) },
        // The machine counts processes for each user, and another container may well have a folder of this name.
        (0, _) => {
            let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
            Identity::Own { user: user_of(&Path::new(&machine).join(root), crowd) }
        }
        (user, group) => Identity::Same { user, group },
    }
}

/// Programs, libraries and settings of the machine, read-only; and the files that say who and where one is.
pub fn view(network: Network) -> View {
    let mut view = View::default();
    let mut seen = BTreeSet::new();
    for path in SYSTEM.iter().chain(&SETTINGS).map(Path::new) {
        if path.exists() {
            seen.insert(path.to_owned());
        }
    }
    for path in SYSTEM_LINKS.iter().map(Path::new) {
        match fs::read_link(path) {
            Ok(target) => drop(view.links.insert(path.to_owned(), target)),
            Err(_) if path.is_dir() => drop(seen.insert(path.to_owned())),
            Err(_) => {}
        }
    }
    let mount = |path, access| Mount { path, access, owner: None };
    view.mounts.extend(seen.into_iter().map(|path| mount(path, Access::ReadOnly)));
    let keys = SECRET_SETTINGS.iter().map(PathBuf::from).filter(|path| path.exists());
    view.mounts.extend(keys.map(|path| mount(path, Access::Hidden)));
    write_settings(&mut view, network);
    view
}

/// Something of the host whose files belong, in the box, to the box's user if they are its owner's.
pub fn mount(path: PathBuf, access: Access) -> Mount {
    let owner = owner_of(&path);
    Mount { path, access, owner }
}

/// Where names come from: as for every program of this machine.
pub fn resolver() -> Configuration {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    Configuration::parse(&read("/etc/resolv.conf"), &read("/etc/hosts"))
}

/// Most links on the way of a path, as in the kernel.
const LINKS_MAX: usize = 40;

/// The links by which a path leads to what it names: programs use the path as they know it, so the way has to be there.
pub fn follow_links(path: &Path, links: &mut BTreeMap<PathBuf, PathBuf>) {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let ancestors: Vec<&Path> = path.ancestors().collect();
        let first = ancestors.iter().rev().find_map(|part| Some((*part, fs::read_link(part).ok()?)));
        let Some((link, target)) = first else { return };
        let rest = path.strip_prefix(link).unwrap_or(Path::new(""));
        // Joining an absolute path replaces what was before it.
        let next = link.parent().unwrap_or(Path::new("/")).join(&target).join(rest);
        links.insert(link.to_owned(), target);
        path = without_dots(&next);
    }
}

/// Without `.` and `..`, of which no link is on the way any more.
fn without_dots(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean
}

/// Without links, as far as it exists.
pub fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// As whom files below a folder are found in the box as the functions' own; `None` where they are everybody's.
fn owner_of(path: &Path) -> Option<(u32, u32)> {
    fs::metadata(path).ok().map(|found| (found.uid(), found.gid()))
}

/// Where an interpreter and its packages are: its virtual environment, and the installation below that. What is beside a
/// mere link to a program may be anything, such as somebody's home.
pub fn interpreter_folders(python: &Path) -> Vec<PathBuf> {
    let prefix = |program: &Path| program.parent().and_then(Path::parent).map(real);
    let environment = prefix(python).filter(|root| root.join("pyvenv.cfg").is_file());
    environment.into_iter().chain(prefix(&real(python))).collect()
}

/// Files that say who and where one is; those of the machine are of nobody's business.
fn write_settings(view: &mut View, network: Network) {
    let (user, group) = match crate::process::user() {
        (0, _) => (USER_INSIDE, USER_INSIDE),
        own => own,
    };
    let mut file = |path: &str, content: String| drop(view.files.insert(path.into(), content));
    file("/etc/passwd", format!("function:x:{user}:{group}:function:/tmp:/bin/sh\n"));
    file("/etc/group", format!("function:x:{group}:\n"));
    file("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n".to_owned());
    match network {
        Network::Own { .. } => file("/etc/resolv.conf", "nameserver 127.0.0.53\n".to_owned()),
        Network::Host => file("/etc/resolv.conf", fs::read_to_string("/etc/resolv.conf").unwrap_or_default()),
    }
    if let Ok(zone) = fs::read_link("/etc/localtime") {
        view.links.insert("/etc/localtime".into(), zone);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_links_on_the_way_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let at = |path: &str| root.join(path);
        fs::create_dir_all(at("real/bin")).unwrap();
        fs::write(at("real/bin/python3.11"), "").unwrap();
        symlink("python3.11", at("real/bin/python")).unwrap();
        symlink(at("real"), at("absolute")).unwrap();
        symlink("./absolute", at("relative")).unwrap();
        let mut links = BTreeMap::new();
        follow_links(&at("relative/bin/python"), &mut links);
        let expected = BTreeMap::from([
            (at("relative"), PathBuf::from("./absolute")),
            (at("absolute"), at("real")),
            (at("real/bin/python"), PathBuf::from("python3.11")),
        ]);
        assert_eq!(links, expected);
        symlink("ring", at("ring")).unwrap();
        follow_links(&at("ring/x"), &mut links);
        follow_links(Path::new("/nowhere/at/all"), &mut links);
        assert_eq!(links.len(), 4);
    }

    /// T-008: whoever keeps a link to Python in their home does not show their home.
    #[test]
    fn t_008_what_is_beside_a_link_to_python_is_not_of_python() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let at = |path: &str| root.join(path);
        for name in ["python/bin", "home/bin", "venv/bin"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        fs::write(at("python/bin/python3"), "").unwrap();
        fs::write(at("venv/pyvenv.cfg"), "").unwrap();
        for name in ["home", "venv"] {
            symlink(at("python/bin/python3"), at(name).join("bin/python")).unwrap();
        }
        assert_eq!(interpreter_folders(&at("home/bin/python")), [at("python")]);
        assert_eq!(interpreter_folders(&at("venv/bin/python")), [at("venv"), at("python")]);
    }
}
