//! The Python side, carried in the binary and laid out on disk once per build.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

macro_rules! shim_files {
    ($($name:literal),* $(,)?) => {
        /// File name and text of every module of `python/ingle_worker`.
        pub const FILES: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../../../python/ingle_worker/", $name)))),*
        ];
    };
}

shim_files![
    "__init__.py",
    "__main__.py",
    "context.py",
    "convert.py",
    "crash.py",
    "debugger.py",
    "errors.py",
    "fork.py",
    "extensions.py",
    "frames.py",
    "http_data.py",
    "invoke.py",
    "lambda_context.py",
    "lambda_logs.py",
    "lanes.py",
    "lifespan.py",
    "load.py",
    "load_chalice.py",
    "load_lambda.py",
    "load_runtime.py",
    "load_v1.py",
    "load_v2.py",
    "load_web.py",
    "logs.py",
    "loop.py",
    "openwhisk.py",
    "plan.py",
    "problems.py",
    "relay.py",
    "relay_call.py",
    "relay_extensions.py",
    "relay_http.py",
    "relay_program.py",
    "relay_stream.py",
    "relay_telemetry.py",
    "sdk.py",
    "segments.py",
    "spool.py",
    "stacks.py",
    "streaming.py",
    "web.py",
];

/// The native part of the worker, beside its modules.
const ENTRY: &str = "entry.so";

fn carried() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    let modules = FILES.iter().map(|(name, text)| (*name, text.as_bytes()));
    modules.chain([(ENTRY, ingle_sandbox::boxes::ENTRY)])
}

/// Writes the modules below `cache` unless they are there, and returns the folder to start (`…/ingle_worker`).
///
/// The folder's name holds a digest of its content, so builds never mix, and Python's bytecode cache beside the
/// files stays valid from one start to the next.
///
/// # Errors
/// Those of the file system.
pub fn install(cache: &Path) -> io::Result<PathBuf> {
    let mut digest = Sha256::new();
    for (name, content) in carried() {
        digest.update(name);
        digest.update([0]);
        digest.update(content);
        digest.update([0]);
    }
    let digest: String = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let parent = cache.join("worker").join(digest);
    let folder = parent.join("ingle_worker");
    if folder.join("__main__.py").is_file() {
        return Ok(folder);
    }
    fs::create_dir_all(&parent)?;
    // Another server, or another app of this one, may do the same now: each writes a folder of its own, the first rename
    // wins.
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let draft = parent.join(format!("draft-{}-{number}", std::process::id()));
    fs::create_dir_all(&draft)?;
    for (name, content) in carried() {
        fs::write(draft.join(name), content)?;
    }
    match fs::rename(&draft, &folder) {
        Ok(()) => Ok(folder),
        Err(_) if folder.join("__main__.py").is_file() => {
            fs::remove_dir_all(&draft)?;
            Ok(folder)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_module_of_the_package_is_carried() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python/ingle_worker");
        let on_disk: BTreeSet<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "py"))
            .collect();
        let carried: BTreeSet<String> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(carried, on_disk);
    }

    #[test]
    fn several_installs_at_once_are_one() {
        for _ in 0..4 {
            let cache = tempfile::tempdir().unwrap();
            std::thread::scope(|scope| {
                (0..8).for_each(|_| drop(scope.spawn(|| install(cache.path()).unwrap())));
            });
        }
    }

    #[test]
    fn a_second_install_changes_nothing() {
        let cache = tempfile::tempdir().unwrap();
        let folder = install(cache.path()).unwrap();
        assert_eq!(install(cache.path()).unwrap(), folder);
        assert_eq!(fs::read_dir(folder.parent().unwrap()).unwrap().count(), 1);
    }
}
