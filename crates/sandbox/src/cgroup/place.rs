//! Where in the control group trees this process is: `/proc/self/mountinfo` and `/proc/self/cgroup`, read as text.
//!
//! Nothing here touches a control group. A tree may be mounted and yet be of no use, because it shows another part than
//! the one that we are in; who asks gets a sentence that says so.

use std::path::{Path, PathBuf};

use super::{Controller, Version};

/// Our own group in one tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    pub version: Version,
    pub folder: PathBuf,
}

/// The trees of this machine, and our group in each.
#[derive(Clone, Default, Debug)]
pub struct Hierarchies {
    mounts: Vec<Mount>,
    memberships: Vec<Membership>,
}

/// One mounted tree, or a part of one.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Mount {
    version: Version,
    /// The part of the tree that is seen here.
    root: String,
    point: PathBuf,
    writable: bool,
    /// Controllers of a v1 tree, and options that are none.
    options: Vec<String>,
}

/// Our group in one tree, seen from the root of our namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Membership {
    /// Empty for the tree of v2.
    controllers: Vec<String>,
    path: String,
}

impl Hierarchies {
    /// What this process sees. A machine without `/proc` is one without control groups.
    pub fn find() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self::parse(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"))
    }

    /// Lines that are not understood are passed over.
    pub fn parse(mountinfo: &str, cgroup: &str) -> Self {
        Self {
            mounts: mountinfo.lines().filter_map(parse_mount).collect(),
            memberships: cgroup.lines().filter_map(parse_membership).collect(),
        }
    }

    /// Our group in the trees that could serve for this, the best first; or why there is none.
    ///
    /// # Errors
    /// A sentence for a person.
    pub fn candidates(&self, controller: Controller) -> Result<Vec<Place>, String> {
        let first = self.first_version(controller);
        match controller {
            // The kernel gives these to one tree only: where v1 has it, v2 never does.
            Controller::Memory | Controller::Cpu | Controller::Pids => {
                self.place(first, controller).map(|place| vec![place])
            }
            Controller::Kill | Controller::CpuTime => {
                let unified = self.place(Version::V2, controller);
                let single = self.place(Version::V1, controller);
                match (unified, single) {
                    (Err(unified), Err(single)) if unified == single => Err(unified),
                    (Err(unified), Err(single)) => Err(format!("{unified}; {single}")),
                    (unified, single) => Ok(unified.into_iter().chain(single).collect()),
                }
            }
        }
    }

    fn first_version(&self, controller: Controller) -> Version {
        let in_v1 = |membership: &Membership| membership.has(controller.v1_name());
        if self.memberships.iter().any(in_v1) { Version::V1 } else { Version::V2 }
    }

    fn place(&self, version: Version, controller: Controller) -> Result<Place, String> {
        let name = controller.v1_name();
        let membership = self.memberships.iter().find(|membership| match version {
            Version::V1 => membership.has(name),
            Version::V2 => membership.controllers.is_empty(),
        });
        let tree = match version {
            Version::V1 => format!("the tree of `{name}` (cgroup v1)"),
            Version::V2 => "the tree of cgroup v2".to_owned(),
        };
        let Some(membership) = membership else {
            return Err("this system has no control groups for it".to_owned());
        };
        let mounts = self.mounts.iter().filter(|mount| {
            mount.version == version
                && (version == Version::V2 || mount.options.iter().any(|option| option == name))
        });
        let mut reason = format!("{tree} is not mounted");
        for mount in mounts {
            match folder(mount, &membership.path) {
                Some(folder) if mount.writable => return Ok(Place { version, folder }),
                Some(folder) => reason = format!("{} is mounted read-only", folder.display()),
                None => {
                    reason = format!(
                        "{} shows another part of {tree} than the one that this process is in",
                        mount.point.display()
                    );
                }
            }
        }
        Err(reason)
    }

    /// As if v2 were not there, to test what is used in its place.
    #[cfg(test)]
    pub(super) fn without_v2(mut self) -> Self {
        self.mounts.retain(|mount| mount.version == Version::V1);
        self
    }
}

impl Membership {
    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }
}

/// The folder of a group below a mount; `None` when the group is outside of what the mount shows.
fn folder(mount: &Mount, path: &str) -> Option<PathBuf> {
    // `/..` is how the kernel names what is above the root of our namespace: there is no telling where we are below it.
    let climbs = |path: &str| path.split('/').any(|part| part == "..");
    if climbs(path) || climbs(&mount.root) {
        return None;
    }
    let below = Path::new(path).strip_prefix(&mount.root).ok()?;
    // Joining nothing would add a slash to the end.
    Some(if below.as_os_str().is_empty() { mount.point.clone() } else { mount.point.join(below) })
}

/// A line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)): the fields after `-` have no fixed place.
fn parse_mount(line: &str) -> Option<Mount> {
    let (head, tail) = line.split_once(" - ")?;
    let mut head = head.split(' ').skip(3);
    let (root, point, flags) = (head.next()?, head.next()?, head.next()?);
    let mut tail = tail.split(' ');
    let version = match tail.next()? {
        "cgroup" => Version::V1,
        "cgroup2" => Version::V2,
        _ => return None,
    };
    let options = tail.nth(1).unwrap_or_default();
    let read_only = |flags: &str| flags.split(',').any(|flag| flag == "ro");
    Some(Mount {
        version,
        root: unescape(root),
        point: PathBuf::from(unescape(point)),
        writable: !read_only(flags) && !read_only(options),
        options: options.split(',').map(str::to_owned).collect(),
    })
}

/// A line of `/proc/self/cgroup`: number, controllers, path. The path may hold colons.
fn parse_membership(line: &str) -> Option<Membership> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let controllers = controllers.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    // The kernel says so of a group that was removed while we are in it.
    if !path.starts_with('/') || path.ends_with(" (deleted)") {
        return None;
    }
    Some(Membership { controllers, path: path.to_owned() })
}

/// Spaces and the like stand as `\040` in the kernel's tables.
fn unescape(field: &str) -> String {
    let mut text = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| first == b'\\').and_then(octal);
        text.push(code.unwrap_or(first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn octal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V1: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:10 master:2 - cgroup cgroup rw,memory
37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
39 31 0:36 / /sys/fs/cgroup/my\\040pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
";
    const V1_GROUPS: &str = "\
12:pids:/user.slice/user-0.slice/a:b
9:name=systemd:/user.slice
6:freezer:/
4:memory:/user.slice
1:cpu,cpuacct:/
";
    const UNIFIED: &str = "41 31 0:38 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    const V2: &str = "29 22 0:26 / /sys/fs/cgroup rw,nosuid,nodev - cgroup2 cgroup2 rw,nsdelegate\n";
    const SCOPE: &str = "/user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope";

    fn check(
        mountinfo: &str,
        cgroup: &str,
        controller: Controller,
        expected: Result<&[(Version, &str)], &str>,
    ) {
        let found = Hierarchies::parse(mountinfo, cgroup).candidates(controller);
        let places = |places: &[(Version, &str)]| -> Vec<Place> {
            let place =
                |&(version, folder): &(Version, &str)| Place { version, folder: PathBuf::from(folder) };
            places.iter().map(place).collect()
        };
        assert_eq!(found, expected.map(places).map_err(str::to_owned), "{controller}");
    }

    #[test]
    fn a_machine_with_v1_has_a_tree_for_each() {
        use Version::V1 as One;
        check(V1, V1_GROUPS, Controller::Memory, Ok(&[(One, "/sys/fs/cgroup/memory/user.slice")]));
        check(V1, V1_GROUPS, Controller::Cpu, Ok(&[(One, "/sys/fs/cgroup/cpu,cpuacct")]));
        check(V1, V1_GROUPS, Controller::CpuTime, Ok(&[(One, "/sys/fs/cgroup/cpu,cpuacct")]));
        check(V1, V1_GROUPS, Controller::Kill, Ok(&[(One, "/sys/fs/cgroup/freezer")]));
        let pids = "/sys/fs/cgroup/my pids/user.slice/user-0.slice/a:b";
        check(V1, V1_GROUPS, Controller::Pids, Ok(&[(One, pids)]));
    }

    #[test]
    fn a_hybrid_machine_limits_by_v1_and_kills_by_v2() {
        let mounts = format!("{V1}{UNIFIED}");
        let groups = format!("{V1_GROUPS}0::/user.slice\n");
        let unified = (Version::V2, "/sys/fs/cgroup/unified/user.slice");
        check(&mounts, &groups, Controller::Memory, Ok(&[(Version::V1, "/sys/fs/cgroup/memory/user.slice")]));
        check(&mounts, &groups, Controller::Kill, Ok(&[unified, (Version::V1, "/sys/fs/cgroup/freezer")]));
        check(
            &mounts,
            &groups,
            Controller::CpuTime,
            Ok(&[unified, (Version::V1, "/sys/fs/cgroup/cpu,cpuacct")]),
        );
    }

    #[test]
    fn a_scope_of_systemd_is_one_place_for_all() {
        let folder = format!("/sys/fs/cgroup{SCOPE}");
        for controller in Controller::ALL {
            check(V2, &format!("0::{SCOPE}\n"), controller, Ok(&[(Version::V2, &folder)]));
        }
    }

    #[test]
    fn a_container_is_found_below_the_root_that_it_was_given() {
        // With a namespace of its own it sees itself at the root.
        check(V2, "0::/\n", Controller::Memory, Ok(&[(Version::V2, "/sys/fs/cgroup")]));
        // Without one, its part of the tree is mounted, and the path is the machine's.
        let mount = "5 4 0:26 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let nested = Ok(&[(Version::V1, "/sys/fs/cgroup/memory/inner")][..]);
        check(mount, "4:memory:/docker/abc/inner\n", Controller::Memory, nested);
        check(
            mount,
            "4:memory:/docker/abc\n",
            Controller::Memory,
            Ok(&[(Version::V1, "/sys/fs/cgroup/memory")]),
        );
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        let other =
            "/sys/fs/cgroup shows another part of the tree of cgroup v2 than the one that this process is in";
        check(V2, "0::/../other\n", Controller::Memory, Err(other));
        check(&V2.replace(" / /sys", " /.. /sys"), "0::/\n", Controller::Memory, Err(other));
        check(
            &V2.replace(" / /sys", " /docker/abc /sys"),
            "0::/docker/abcd\n",
            Controller::Memory,
            Err(other),
        );
        let read_only = "/sys/fs/cgroup/a is mounted read-only";
        check(&V2.replace("rw,nosuid", "ro,nosuid"), "0::/a\n", Controller::Pids, Err(read_only));
        check("", "0::/\n", Controller::Cpu, Err("the tree of cgroup v2 is not mounted"));
        check("", "3:cpu:/\n", Controller::Cpu, Err("the tree of `cpu` (cgroup v1) is not mounted"));
        check("", "", Controller::Kill, Err("this system has no control groups for it"));
        check(V2, "0::/a (deleted)\n", Controller::Cpu, Err("this system has no control groups for it"));
        let both = "the tree of cgroup v2 is not mounted; the tree of `freezer` (cgroup v1) is not mounted";
        check("", "2:freezer:/\n0::/\n", Controller::Kill, Err(both));
    }

    #[test]
    fn of_two_mounts_the_one_that_can_be_written_counts() {
        let mounts = format!("{}{UNIFIED}", V2.replace("rw,nosuid", "ro,nosuid"));
        check(&mounts, "0::/a\n", Controller::Memory, Ok(&[(Version::V2, "/sys/fs/cgroup/unified/a")]));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(mountinfo: String, cgroup: String, escaped in r"(\\[0-9a-z]{0,4}|/)*") {
            let line = format!("1 2 3:4 {escaped} {escaped} rw - cgroup2 none rw,{mountinfo}");
            let found = Hierarchies::parse(&line, &format!("0::/{cgroup}\n{cgroup}"));
            for controller in Controller::ALL {
                found.candidates(controller).ok();
            }
            Hierarchies::parse(&mountinfo, &cgroup).candidates(Controller::Kill).ok();
        }
    }
}
