//! The box of an app: what its functions see of the machine, as whom they run, and within which limits.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use ingle_sandbox::boxes::{Protection, Access, BoxSpec, Identity, Mount, Network, Scratch, USER_INSIDE, View};
use ingle_sandbox::cgroup::Limits;
use ingle_sandbox::egress::policy::{Policy, Target};
use ingle_sandbox::egress::resolver;
use ingle_sandbox::means::Strength;
use ingle_types::spec::{Egress, Isolation, SandboxOptions};
use ingle_worker::Confinement;

use crate::error::Error;

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
/// First user of those that stand for apps. Far from those of people, services and other containers.
const FIRST_USER: u32 = 1_610_612_736;
const USERS: u32 = 1 << 24;

const TEMPORARY_BYTES: u64 = 512 << 20;
const TEMPORARY_FILES: u64 = 100_000;
const OPEN_FILES: u64 = 2048;
const FILE_BYTES: u64 = 8 << 30;
/// As a function has on Azure's consumption plan.
const MEMORY: u64 = 1536 << 20;
/// Memory with which a worker gets as much of a busy machine as a program of the machine does (facts of Lambda).
const MEMORY_OF_A_CORE: u64 = 1769 << 20;
const PROCESSES_OF_A_WORKER: u64 = 1024;
/// For all workers of an app together, where nothing counts those of one.
const PROCESSES: u64 = 4096;

/// How an app is confined, for those who want to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Confined {
    pub isolation: Isolation,
    /// What its box has not, and why. Nothing of it is there with [`Isolation::Off`].
    pub missing: Vec<(Protection, String)>,
}

impl Confined {
    pub(crate) fn new(isolation: Isolation, confinement: Option<&Confinement>) -> Self {
        let Some(confinement) = confinement else { return Self { isolation: Isolation::Off, missing: Vec::new() } };
        let strength = &confinement.means.strength;
        let mut missing: Vec<_> =
            strength.missing().map(|(protection, reason)| (protection, reason.to_owned())).collect();
        if confinement.rules.is_none() && strength.has(Protection::OwnNetwork) {
            missing.push((Protection::OwnNetwork, "the app uses the network of the machine".to_owned()));
        }
        Self { isolation, missing }
    }
}

/// What of the machine the app needs to run.
pub(crate) struct Needs<'a> {
    /// The app's folder.
    pub(crate) root: &'a Path,
    pub(crate) python: &'a Path,
    /// The Python files of the worker.
    pub(crate) shim: &'a Path,
    /// Folders with packages, and whatever else is to be read.
    pub(crate) read: Vec<PathBuf>,
    pub(crate) write: Vec<PathBuf>,
    /// Ingle's own, of which functions must see nothing but what is in `read` and `write`.
    pub(crate) hidden: Vec<PathBuf>,
}

/// The box of an app.
pub(crate) fn box_spec(
    needs: &Needs<'_>,
    options: &SandboxOptions,
    network: Network,
    strength: &Strength,
) -> BoxSpec {
    let identity = match ingle_sandbox::process::user() {
        (0, _) => Identity::Own { user: user_of(needs.root) },
        (user, group) => Identity::Same { user, group },
    };
    let bytes = options.temporary.unwrap_or(TEMPORARY_BYTES);
    BoxSpec {
        view: view(needs, options, network),
        identity,
        network,
        scratch: Scratch { bytes, files: TEMPORARY_FILES },
        open_files_max: options.open_files.unwrap_or(OPEN_FILES),
        file_bytes_max: FILE_BYTES,
        processes_max: PROCESSES,
        has_namespaces: strength.has(Protection::UserNamespace),
        asks: network != Network::Host,
    }
}

/// The same user for the same folder, so that what an app has written stays its own.
fn user_of(root: &Path) -> u32 {
    // FNV-1a, as the number has to be the same in each build.
    let hash = root.as_os_str().as_encoded_bytes().iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    FIRST_USER + hash % USERS
}

/// Whether everything is there that strict isolation is made of.
pub(crate) fn check_strict(strength: &Strength) -> Result<(), Error> {
    let missing: Vec<String> = strength
        .missing_for_strict()
        .map(|(protection, reason)| format!("{} ({reason})", protection.name()))
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(Error::NotStrict { missing: missing.join(", ") }) }
}

/// What functions may reach. Services that the app's own settings name are meant to be reached.
pub(crate) fn policy(options: &SandboxOptions, settings: &BTreeMap<String, String>) -> Policy {
    // What is no target has been said when ingle.toml was read.
    let parse = |listed: &[String]| listed.iter().filter_map(|text| Target::parse(text).ok()).collect();
    match &options.egress {
        Some(Egress::All) => Policy::All,
        Some(Egress::None) => Policy::None,
        Some(Egress::Only(listed)) => Policy::Only(parse(listed)),
        None => Policy::Public { also: named_in(settings) },
    }
}

/// Hosts with ports in settings: of URLs, of `host:port`, of connection strings. `UseDevelopmentStorage=true` means
/// three ports of this machine.
fn named_in(settings: &BTreeMap<String, String>) -> Vec<Target> {
    let mut found: BTreeSet<String> = BTreeSet::new();
    for value in settings.values() {
        if value.contains("UseDevelopmentStorage=true") {
            found.extend([10000, 10001, 10002].map(|port| format!("127.0.0.1:{port}")));
        }
        for part in value.split([';', ',', ' ']) {
            let part = part.split_once('=').map_or(part, |(_, value)| value);
            found.extend(destination(part));
        }
    }
    found.iter().filter_map(|text| Target::parse(text).ok()).collect()
}

/// `host:port` of a part of a setting, if it names one.
fn destination(part: &str) -> Option<String> {
    let (scheme, rest) = part.split_once("://").unwrap_or(("", part));
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => (host, port),
        Some(_) => return None,
        None => (authority, usual_port(scheme)?),
    };
    let is_host = |letter: char| letter.is_ascii_alphanumeric() || "-._[]:".contains(letter);
    (!host.is_empty() && host.chars().all(is_host)).then(|| format!("{host}:{port}"))
}

fn usual_port(scheme: &str) -> Option<&'static str> {
    Some(match scheme {
        "http" => "80",
        "https" => "443",
        "postgres" | "postgresql" => "5432",
        "mysql" => "3306",
        "redis" => "6379",
        "amqp" => "5672",
        "mongodb" => "27017",
        _ => return None,
    })
}

/// Where names come from: as for every program of this machine.
pub(crate) fn resolver() -> resolver::Configuration {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    resolver::Configuration::parse(&read("/etc/resolv.conf"), &read("/etc/hosts"))
}

/// What one worker may use.
pub(crate) fn limits(options: &SandboxOptions) -> Limits {
    let memory = options.memory.unwrap_or(MEMORY);
    // As on Lambda: so much processor as memory, in proportion.
    let proportional = memory as f64 / MEMORY_OF_A_CORE as f64;
    Limits {
        memory: Some(memory),
        cpu_weight: Some((proportional * 100.0).clamp(1.0, 10_000.0) as u16),
        cpu_quota: options.cpu,
        pids: Some(options.processes.unwrap_or(PROCESSES_OF_A_WORKER)),
    }
}

/// Bytes of one answer.
const ANSWER: u64 = 100 << 20;

/// The longest answer of a function (T-019).
pub(crate) fn answer_bytes_max(options: &SandboxOptions) -> u32 {
    u32::try_from(options.response_bytes.unwrap_or(ANSWER)).unwrap_or(u32::MAX)
}

fn view(needs: &Needs<'_>, options: &SandboxOptions, network: Network) -> View {
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
    view.mounts.extend(seen.into_iter().map(|path| Mount { path, access: Access::ReadOnly, owner: None }));
    // The worker is a package, which Python finds by looking into the folder above.
    let shim = needs.shim.parent().unwrap_or(needs.shim);
    let mut read: BTreeSet<PathBuf> = [needs.root, shim].iter().map(|path| real(path)).collect();
    read.extend(interpreter_folders(needs.python));
    read.extend(needs.read.iter().chain(&options.read).map(|path| real(path)));
    let write: BTreeSet<PathBuf> = needs.write.iter().chain(&options.write).map(|path| real(path)).collect();
    for (paths, access) in [(&read, Access::ReadOnly), (&write, Access::ReadWrite)] {
        for path in paths.iter().filter(|path| path.exists()) {
            // What is in the system's folders is there already, and they must not be hidden by what is in them.
            if access == Access::ReadOnly && path.starts_with("/usr") || path.parent().is_none() {
                continue;
            }
            view.mounts.push(Mount { path: path.clone(), access, owner: owner_of(path) });
        }
    }
    let hidden = needs.hidden.iter().map(|path| real(path));
    view.mounts.extend(hidden.map(|path| Mount { path, access: Access::Hidden, owner: None }));
    write_settings(&mut view, network);
    view
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// As whom files below a folder are found in the box as the functions' own; `None` where they are everybody's.
fn owner_of(path: &Path) -> Option<(u32, u32)> {
    fs::metadata(path).ok().map(|found| (found.uid(), found.gid()))
}

/// Where an interpreter and its packages are: its virtual environment, and the installation below that.
fn interpreter_folders(python: &Path) -> Vec<PathBuf> {
    let prefix = |program: &Path| program.parent().and_then(Path::parent).map(real);
    let real_program = real(python);
    [prefix(python), prefix(&real_program)].into_iter().flatten().collect()
}

/// Files that say who and where one is; those of the machine are of nobody's business.
fn write_settings(view: &mut View, network: Network) {
    let (user, group) = match ingle_sandbox::process::user() {
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

/// Variables of the server that say something of the machine and nothing of anybody's secrets.
pub(crate) fn harmless(name: &str) -> bool {
    matches!(name, "LANG" | "LANGUAGE" | "TZ") || name.starts_with("LC_")
}

/// What functions find in their environment of the server's: nothing but what is harmless and what the app names.
pub(crate) fn variables(
    inherited: &BTreeMap<String, String>,
    python: &Path,
    named: &[String],
) -> BTreeMap<String, String> {
    let own = inherited.iter().filter(|(name, _)| harmless(name) || named.contains(name));
    let mut variables: BTreeMap<String, String> =
        own.map(|(name, value)| (name.clone(), value.clone())).collect();
    let programs = python.parent().map(|folder| format!("{}:", folder.display())).unwrap_or_default();
    let mut default = |name: &str, value: String| {
        variables.entry(name.to_owned()).or_insert(value);
    };
    default("PATH", format!("{programs}/usr/local/bin:/usr/bin:/bin"));
    default("HOME", "/tmp".to_owned());
    default("LANG", "C.UTF-8".to_owned());
    variables
}
