//! The box of an app: what its functions see of the machine, as whom they run, and within which limits.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ingle_sandbox::boxes::machine;
use ingle_sandbox::boxes::{Access, BoxSpec, Identity, Mount, Network, Protection, Role, Scratch, View};
use ingle_sandbox::cgroup::Limits;
use ingle_sandbox::egress::policy::{Policy, Target};
use ingle_sandbox::gvisor::Gvisor;
use ingle_sandbox::means::Strength;
use ingle_types::spec::{CpuQuota, Egress, Isolation, SandboxOptions};
use ingle_worker::{Bounds, Confinement};

use crate::error::{Error, GvisorLack};

const TEMPORARY_BYTES: u64 = 512 << 20;
const TEMPORARY_FILES: u64 = 100_000;
const OPEN_FILES: u64 = 2048;
const FILE_BYTES: u64 = 8 << 30;
/// As a function has on Azure's consumption plan.
const MEMORY: u64 = 1536 << 20;
/// Memory with which a worker gets as much of a busy machine as a program of the machine does (facts of Lambda).
const MEMORY_OF_A_CORE: u64 = 1769 << 20;
const PROCESSES_OF_A_WORKER: u64 = 1024;
/// Where an app says what it is to see and may do.
const SAYING: [&str; 4] = ["ingle.toml", "local.settings.json", ".venv", "venv"];
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
        let Some(confinement) = confinement else {
            return Self { isolation: Isolation::Off, missing: Vec::new() };
        };
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
    /// Of a handler for AWS Lambda: what lies over each other in `/opt`.
    pub(crate) layers: Option<&'a [PathBuf]>,
}

/// The box of an app.
pub(crate) fn box_spec(
    needs: &Needs<'_>,
    options: &SandboxOptions,
    (identity, network): (Identity, Network),
    strength: &Strength,
) -> BoxSpec {
    let bytes = options.temporary.unwrap_or(TEMPORARY_BYTES);
    BoxSpec {
        role: Role::Zygote,
        view: view(needs, options, network),
        identity,
        network,
        scratch: Scratch { bytes, files: TEMPORARY_FILES },
        open_files_max: options.open_files.unwrap_or(OPEN_FILES),
        file_bytes_max: FILE_BYTES,
        // Where nothing counts those of one worker, at least there are no more in the box than one may have.
        processes_max: match options.processes.unwrap_or(PROCESSES_OF_A_WORKER) {
            most if strength.has(Protection::ProcessLimit) => most.max(PROCESSES),
            most => most,
        },
        has_namespaces: strength.has(Protection::UserNamespace),
        asks: network != Network::Host,
        gvisor: None,
    }
}

/// Whether everything is there that strict isolation is made of.
pub(crate) fn check_strict(strength: &Strength) -> Result<(), Error> {
    let missing: Vec<String> = strength
        .missing_for_strict()
        .map(|(protection, reason)| format!("{} ({reason})", protection.name()))
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(Error::NotStrict { missing: missing.join(", ") }) }
}

/// gVisor, if it is installed and can run here: in a box that has namespaces.
pub(crate) fn gvisor(strength: &Strength) -> Result<Gvisor, Error> {
    let needed =
        [Protection::UserNamespace, Protection::FileView, Protection::ProcessNumbers, Protection::OwnNetwork];
    let missing: Vec<String> = strength
        .missing()
        .filter(|(protection, _)| needed.contains(protection))
        .map(|(protection, reason)| format!("{} ({reason})", protection.name()))
        .collect();
    if !missing.is_empty() {
        return Err(Error::NoGvisor { lack: GvisorLack::Box { missing: missing.join(", ") } });
    }
    Gvisor::find().ok_or(Error::NoGvisor { lack: GvisorLack::Program })
}

/// What functions may reach. Services that the app's own settings name are meant to be reached.
pub(crate) fn policy(options: &SandboxOptions, settings: &BTreeMap<String, String>) -> Policy {
    // What is no target has been said when ingle.toml was read.
    let parse = |listed: &[String]| -> Vec<Target> {
        listed.iter().filter_map(|text| Target::parse(text).ok()).collect()
    };
    let door: Vec<Target> = options.door.iter().filter_map(|text| Target::parse(text).ok()).collect();
    match &options.egress {
        Some(Egress::All) => Policy::All,
        Some(Egress::None) if door.is_empty() => Policy::None,
        Some(Egress::None) => Policy::Only(door),
        Some(Egress::Only(listed)) => Policy::Only([parse(listed), door].concat()),
        None => Policy::Public { also: [named_in(settings), door].concat() },
    }
}

/// Hosts with ports in settings: of URLs, of `host:port`, of connection strings. `UseDevelopmentStorage=true` means
/// three ports of this machine.
fn named_in(settings: &BTreeMap<String, String>) -> Vec<Target> {
    let mut found: Vec<Target> = Vec::new();
    for value in settings.values() {
        if value.contains("UseDevelopmentStorage=true") {
            let ports = [10000, 10001, 10002].map(|port| format!("127.0.0.1:{port}"));
            found.extend(ports.iter().filter_map(|text| Target::parse(text).ok()));
        }
        for part in value.split([';', ',', ' ']) {
            // `Server=host:port`, but not the query of a URL.
            let is_named =
                |name: &str| name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
            let part =
                part.split_once('=').filter(|(name, _)| is_named(name)).map_or(part, |(_, value)| value);
            found.extend(Target::of_url(part));
        }
    }
    found
}

/// What one invocation may give back.
pub(crate) fn bounds(options: &SandboxOptions) -> Bounds {
    let usual = Bounds::default();
    Bounds {
        log_bytes: options.log_bytes.unwrap_or(usual.log_bytes),
        response_bytes: options.response_bytes.unwrap_or(usual.response_bytes),
        streamed_bytes: options.response_bytes,
        outputs_bytes: options.outputs_bytes.unwrap_or(usual.outputs_bytes),
    }
}

/// What one worker may use.
pub(crate) fn limits(options: &SandboxOptions, isolation: Isolation) -> Limits {
    let memory = options.memory.unwrap_or(MEMORY);
    // As on Lambda: so much processor as memory, in proportion.
    let proportional = memory as f64 / MEMORY_OF_A_CORE as f64;
    // Who asks for the strictest box shares the machine with others whom they don't trust; everybody else would see their
    // functions wait while processors are idle.
    let quota = options.cpu.or((isolation == Isolation::Strict).then_some(CpuQuota::OfMemory));
    Limits {
        memory: Some(memory),
        cpu_weight: Some((proportional * 100.0).clamp(1.0, 10_000.0) as u16),
        cpu_quota: quota.map(|quota| match quota {
            CpuQuota::Cores(cores) => cores,
            CpuQuota::OfMemory => proportional,
        }),
        pids: Some(options.processes.unwrap_or(PROCESSES_OF_A_WORKER)),
    }
}

fn view(needs: &Needs<'_>, options: &SandboxOptions, network: Network) -> View {
    let mut view = machine::view(network);
    // The worker is a package, which Python finds by looking into the folder above.
    let shim = needs.shim.parent().unwrap_or(needs.shim);
    let mut read: BTreeSet<PathBuf> = [needs.root, shim].iter().map(|path| machine::real(path)).collect();
    read.extend(machine::interpreter_folders(needs.python));
    // The app names what is in its folder by relative paths.
    let named = |paths: &[PathBuf]| paths.iter().map(|path| needs.root.join(path)).collect::<Vec<_>>();
    let (named_read, named_write) = (named(&options.read), named(&options.write));
    read.extend(needs.read.iter().chain(&named_read).map(|path| machine::real(path)));
    let write: BTreeSet<PathBuf> =
        needs.write.iter().chain(&named_write).map(|path| machine::real(path)).collect();
    read.retain(|path| !write.contains(path));
    for (paths, access) in [(&read, Access::ReadOnly), (&write, Access::ReadWrite)] {
        for path in paths.iter().filter(|path| path.exists()) {
            // What is in the system's folders is there already, and they must not be hidden by what is in them.
            if access == Access::ReadOnly && path.starts_with("/usr") || path.parent().is_none() {
                continue;
            }
            view.mounts.push(machine::mount(path.clone(), access));
        }
    }
    let given = [needs.root, needs.shim, needs.python];
    let others = needs.read.iter().chain(&needs.write).chain(&named_read).chain(&named_write);
    for path in given.into_iter().chain(others.map(PathBuf::as_path)) {
        machine::follow_links(path, &mut view.links);
    }
    if let Some(layers) = needs.layers {
        let layers: Vec<PathBuf> = layers.iter().map(|layer| machine::real(layer)).collect();
        let seen: Vec<&Path> = view.mounts.iter().map(|mount| mount.path.as_path()).collect();
        view.links.extend(crate::handler::links(&machine::real(needs.root), &layers, &seen));
    }
    // What an app may do is not for the app to say, even if the rest of its folder is its own.
    for path in SAYING.map(|name| needs.root.join(name)) {
        if path.exists() && write.iter().any(|writable| path.starts_with(writable)) {
            view.mounts.push(machine::mount(machine::real(&path), Access::ReadOnly));
        }
    }
    let hidden = needs.hidden.iter().map(|path| machine::real(path));
    view.mounts.extend(hidden.map(|path| Mount { path, access: Access::Hidden, owner: None }));
    view
}

/// Variables of the server that say something of the machine and nothing of anybody's secrets.
pub(crate) fn harmless(name: &str) -> bool {
    matches!(name, "LANG" | "LANGUAGE" | "TZ") || name.starts_with("LC_")
}

/// What functions find in their environment of the server's: nothing but what is harmless and what the app names.
/// `temporary`: the folder that is theirs to write into.
pub(crate) fn variables(
    inherited: &BTreeMap<String, String>,
    (python, temporary): (&Path, &Path),
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
    default("HOME", temporary.display().to_string());
    if temporary != Path::new("/tmp") {
        // They find /tmp by themselves.
        default("TMPDIR", temporary.display().to_string());
        // The user has no line in the machine's list of them.
        default("USER", "function".to_owned());
        default("LOGNAME", "function".to_owned());
    }
    default("LANG", "C.UTF-8".to_owned());
    // Packages were compiled when they were installed. Bytecode of a file that is saved twice within a second is taken for
    // that of the first.
    default("PYTHONDONTWRITEBYTECODE", "1".to_owned());
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T-051: what an app's own settings name may be reached, and nothing else that is private.
    #[test]
    fn t_051_destinations_in_settings_are_found() {
        let check = |value: &str, expected: &[&str]| {
            let settings = BTreeMap::from([("NAME".to_owned(), value.to_owned())]);
            let found: Vec<String> = named_in(&settings).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{value}");
        };
        check("db.internal:5432", &["db.internal:5432"]);
        check("postgres://user:word@db/shop?x=1", &["db:5432"]);
        check("https://api.example.com/v1", &["api.example.com:443"]);
        check("Server=10.0.0.7:1433;Password=a:b", &["10.0.0.7:1433"]);
        check("amqp://a:b@[::1]:5673/", &["[::1]:5673"]);
        check("UseDevelopmentStorage=true", &["127.0.0.1:10000", "127.0.0.1:10001", "127.0.0.1:10002"]);
        for harmless in
            ["", "true", "12:30", "a b", "0 */5 * * * *", "http://", "x=", "C:\\x", "::", "{\"a\": 1}"]
        {
            check(harmless, &[]);
        }
    }

    /// T-012, T-013, T-021: what a worker may use, if the app says nothing, or something.
    #[test]
    fn a_worker_has_limits() {
        let usual = SandboxOptions::default();
        let free = limits(&usual, Isolation::Default);
        assert_eq!((free.memory, free.pids), (Some(1536 << 20), Some(1024)));
        assert_eq!((free.cpu_weight, free.cpu_quota), (Some(86), None));
        let quota = |options: &SandboxOptions, isolation| {
            let quota = limits(options, isolation).cpu_quota;
            quota.map(|cores| (cores * 1000.0).round() / 1000.0)
        };
        let memory = Some(1769 << 19);
        let of_memory = SandboxOptions { cpu: Some(CpuQuota::OfMemory), memory, ..usual.clone() };
        let cores = SandboxOptions { cpu: Some(CpuQuota::Cores(1.5)), memory, ..usual.clone() };
        assert_eq!(quota(&usual, Isolation::Strict), Some(0.868));
        assert_eq!(quota(&of_memory, Isolation::Default), Some(0.5));
        for isolation in [Isolation::Default, Isolation::Strict] {
            assert_eq!(quota(&cores, isolation), Some(1.5));
        }
        let small = SandboxOptions { memory: Some(32 << 20), processes: Some(8), ..usual };
        let small = limits(&small, Isolation::Default);
        assert_eq!((small.memory, small.pids, small.cpu_weight), (Some(32 << 20), Some(8), Some(1)));
    }

    /// An app that may write into its own folder still can't say what it may.
    #[test]
    fn what_an_app_may_do_is_not_for_the_app_to_say() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(SAYING[0]), "[sandbox]\nwrite = [\".\"]\n").unwrap();
        let needs = Needs {
            root: folder.path(),
            python: Path::new("/usr/bin/python3"),
            shim: Path::new("/usr"),
            read: Vec::new(),
            write: Vec::new(),
            hidden: Vec::new(),
            layers: None,
        };
        let access = |options: &SandboxOptions| {
            let view = view(&needs, options, Network::Host);
            let found = view
                .mounts
                .into_iter()
                .find(|mount| mount.path == machine::real(&folder.path().join(SAYING[0])));
            found.map(|mount| mount.access)
        };
        let options = SandboxOptions { write: vec![PathBuf::from(".")], ..SandboxOptions::default() };
        assert_eq!(access(&options), Some(Access::ReadOnly));
        assert_eq!(access(&SandboxOptions::default()), None);
    }

    /// T-012, T-013: what an app says of its workers' limits, and what they are when it says nothing.
    #[test]
    fn t_012_settings_become_limits() {
        let plain = SandboxOptions::default();
        let found = limits(&plain, Isolation::Default);
        assert_eq!((found.memory, found.pids, found.cpu_quota), (Some(1536 << 20), Some(1024), None));
        assert_eq!(found.cpu_weight, Some(86), "1536 of 1769 MB, in hundredths");
        let own = SandboxOptions {
            memory: Some(256 << 20),
            processes: Some(128),
            cpu: Some(CpuQuota::Cores(0.5)),
            ..SandboxOptions::default()
        };
        let found = limits(&own, Isolation::Default);
        assert_eq!((found.memory, found.pids, found.cpu_quota), (Some(256 << 20), Some(128), Some(0.5)));
        let weight = |memory: u64| {
            limits(&SandboxOptions { memory: Some(memory), ..SandboxOptions::default() }, Isolation::Default)
                .cpu_weight
        };
        assert_eq!(weight(MEMORY_OF_A_CORE), Some(100), "as much as any program of the machine");
        assert_eq!(weight(2 * MEMORY_OF_A_CORE), Some(200));
        // The system takes numbers from 1 to 10000.
        assert_eq!((weight(0), weight(1), weight(u64::MAX)), (Some(1), Some(1), Some(10_000)));
    }

    /// T-012: where nothing counts the processes of one worker, a box has no more of them than one may have.
    #[test]
    fn t_012_a_box_has_a_limit_of_processes_in_any_case() {
        let folder = tempfile::tempdir().unwrap();
        let needs = Needs {
            root: folder.path(),
            python: Path::new("/usr/bin/python3"),
            shim: Path::new("/usr"),
            read: Vec::new(),
            write: Vec::new(),
            hidden: Vec::new(),
            layers: None,
        };
        let most = |processes: Option<u64>, strength: &Strength| {
            let options = SandboxOptions { processes, ..SandboxOptions::default() };
            let identity = Identity::Same { user: 1000, group: 1000 };
            box_spec(&needs, &options, (identity, Network::Host), strength).processes_max
        };
        let counted = Strength::default();
        assert_eq!((most(None, &counted), most(Some(128), &counted)), (4096, 4096));
        assert_eq!(most(Some(5000), &counted), 5000);
        let uncounted = Strength::new([ingle_sandbox::boxes::Shortfall {
            protection: Protection::ProcessLimit,
            reason: "no control groups".to_owned(),
        }]);
        assert_eq!((most(None, &uncounted), most(Some(128), &uncounted)), (1024, 128));
    }

    #[test]
    fn the_environment_is_built_from_nothing() {
        let inherited = ["SECRET", "DATABASE_URL", "LANG", "LC_ALL", "HOME", "PATH", "INGLE_X", "LD_PRELOAD"]
            .map(|name| (name.to_owned(), format!("{name} of the shell")));
        let places = (Path::new("/e/bin/python"), Path::new("/tmp"));
        let found = variables(&BTreeMap::from(inherited), places, &["DATABASE_URL".to_owned()]);
        let found: Vec<String> = found.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let expected = [
            "DATABASE_URL=DATABASE_URL of the shell",
            "HOME=/tmp",
            "LANG=LANG of the shell",
            "LC_ALL=LC_ALL of the shell",
            "PATH=/e/bin:/usr/local/bin:/usr/bin:/bin",
            "PYTHONDONTWRITEBYTECODE=1",
        ];
        assert_eq!(found, expected);
    }
}
