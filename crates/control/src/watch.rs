//! Which changed files matter, and when to look: a save is often several events, and editors write by renaming.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// A change counts when nothing else has changed for this long.
const QUIET: Duration = Duration::from_millis(40);
/// Files that may change before the queue is full; then everything counts as changed.
const CHANGES_MAX: usize = 1024;
/// Folders of one app that are watched. Each takes one of the watches that the system gives a user, and functions may make folders
/// in those of the app that they may write.
const FOLDERS_MAX: usize = 2048;
/// Folders whose content is not the app's.
const NOT_THE_APPS: [&str; 10] = [
    "__pycache__",
    "node_modules",
    ".git",
    ".ingle",
    ".venv",
    "venv",
    ".vscode",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
];
const SETTINGS: [&str; 7] = [
    "host.json",
    "local.settings.json",
    "function.json",
    "requirements.txt",
    "pyproject.toml",
    "uv.lock",
    ".python-version",
];

/// What host.json wants watched besides what every app is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extra {
    /// `watchFiles`: names, or paths from the root.
    pub files: Vec<String>,
    /// `watchDirectories`: paths from the root; everything below them counts.
    pub directories: Vec<String>,
}

impl Extra {
    fn has(&self, relative: &Path, name: &str) -> bool {
        let is_path = |wanted: &String| relative == Path::new(wanted.trim_matches('/'));
        self.files.iter().any(|wanted| wanted == name || is_path(wanted))
            || self.directories.iter().any(|folder| relative.starts_with(folder.trim_matches('/')))
    }
}

/// Whether what has this name in an app's folder belongs to the app.
pub(crate) fn is_of_the_app(name: &OsStr) -> bool {
    name.to_str().is_none_or(|name| !NOT_THE_APPS.contains(&name))
}

/// Whether a file is one of those that every app is made of.
pub(crate) fn is_source(file: &Path) -> bool {
    let name = file.file_name().and_then(OsStr::to_str).unwrap_or_default();
    file.extension().is_some_and(|extension| extension == "py") || SETTINGS.contains(&name)
}

/// Whether a change of this file changes the app.
pub fn matters(root: &Path, path: &Path, extra: &Extra) -> bool {
    let Ok(relative) = path.strip_prefix(root) else { return false };
    let mut parts = relative.components().filter_map(|part| part.as_os_str().to_str());
    if parts.clone().rev().skip(1).any(|part| NOT_THE_APPS.contains(&part)) {
        return false;
    }
    let Some(name) = parts.next_back() else { return false };
    // Editors write `.name.swp`, `name~` and `4913` beside the file.
    let is_scratch = name.starts_with(".#") || name.ends_with('~') || name.ends_with(".swp");
    !is_scratch && (is_source(relative) || extra.has(relative, name))
}

/// Watches the folders of all apps of a server, with one queue of the system and one thread. Cheap to clone.
#[derive(Clone)]
pub struct Watcher(Arc<Shared>);

struct Shared {
    system: Mutex<RecommendedWatcher>,
    apps: Apps,
}

/// Who is told of what changes below a folder.
type Apps = Arc<RwLock<HashMap<PathBuf, Vec<Told>>>>;

/// Several functions of a project may have one folder.
struct Told {
    number: u64,
    changes: mpsc::Sender<PathBuf>,
}

impl Watcher {
    /// Begins to listen to the system.
    ///
    /// # Errors
    /// The system's, e.g. when its number of queues is used up.
    pub fn start() -> notify::Result<Self> {
        let apps = Apps::default();
        let told = apps.clone();
        let system = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let Ok(event) = event else { return };
            if !matches!(event.kind, EventKind::Access(_)) {
                event.paths.into_iter().for_each(|path| tell(&told, &path));
            }
        })?;
        Ok(Self(Arc::new(Shared { system: Mutex::new(system), apps })))
    }

    fn watch(&self, folder: &Path) -> notify::Result<()> {
        let mut system = self.0.system.lock().unwrap_or_else(PoisonError::into_inner);
        system.watch(folder, RecursiveMode::NonRecursive)
    }
}

fn tell(apps: &Apps, path: &Path) {
    let apps = apps.read().unwrap_or_else(PoisonError::into_inner);
    for told in path.ancestors().filter_map(|folder| apps.get(folder)).flatten() {
        // A full queue means that a reload is due anyway.
        told.changes.try_send(path.to_owned()).ok();
    }
}

/// Tells of changes of an app's files.
pub struct Watch {
    number: u64,
    changes: mpsc::Receiver<PathBuf>,
    watcher: Watcher,
    root: PathBuf,
    extra: Extra,
    watched: HashSet<PathBuf>,
    /// It has more folders than are watched, and that is said.
    is_full: bool,
}

impl Watch {
    /// Begins to watch a folder.
    ///
    /// # Errors
    /// The system's, e.g. when its number of watches is used up.
    pub fn start(watcher: &Watcher, root: &Path) -> notify::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (sender, changes) = mpsc::channel(CHANGES_MAX);
        let told = Told { number, changes: sender };
        let mut apps = watcher.0.apps.write().unwrap_or_else(PoisonError::into_inner);
        apps.entry(root.to_owned()).or_default().push(told);
        drop(apps);
        let mut watch = Self {
            number,
            changes,
            watcher: watcher.clone(),
            root: root.to_owned(),
            extra: Extra::default(),
            watched: HashSet::new(),
            is_full: false,
        };
        watch.add_folders(root)?;
        Ok(watch)
    }

    /// Watches more, or less, from the next change on.
    pub fn set_extra(&mut self, extra: Extra) {
        self.extra = extra;
    }

    /// Each folder is watched by itself: a recursive watch would take in virtual environments with their thousands.
    fn add_folders(&mut self, folder: &Path) -> notify::Result<()> {
        if self.watched.contains(folder) {
            return Ok(());
        }
        if self.watched.len() >= FOLDERS_MAX {
            if !std::mem::replace(&mut self.is_full, true) {
                let app = self.root.display();
                tracing::warn!("{app} has more than {FOLDERS_MAX} folders: changes in some are not noticed");
            }
            return Ok(());
        }
        self.watched.insert(folder.to_owned());
        self.watcher.watch(folder)?;
        let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let is_environment = entry.path().join("pyvenv.cfg").exists();
            if is_folder && !is_environment && name.to_str().is_some_and(|name| !NOT_THE_APPS.contains(&name))
            {
                self.add_folders(&entry.path())?;
            }
        }
        Ok(())
    }

    /// The files that changed together, relative to the folder. `None` when watching has ended.
    pub async fn changed(&mut self) -> Option<BTreeSet<PathBuf>> {
        let mut files = BTreeSet::new();
        loop {
            let path = if files.is_empty() {
                self.changes.recv().await?
            } else {
                match tokio::time::timeout(QUIET, self.changes.recv()).await {
                    Ok(path) => path?,
                    Err(_quiet) => return Some(files),
                }
            };
            if path.is_dir() {
                self.watch_new_folder(&path, &mut files);
            } else if matters(&self.root, &path, &self.extra) {
                files.insert(path.strip_prefix(&self.root).unwrap_or(&path).to_owned());
            }
        }
    }

    /// Files may have been written into a new folder before it was watched.
    fn watch_new_folder(&mut self, folder: &Path, files: &mut BTreeSet<PathBuf>) {
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if self.watched.contains(folder) || NOT_THE_APPS.contains(&name) {
            return;
        }
        if let Err(error) = self.add_folders(folder) {
            tracing::warn!(folder = %folder.display(), "can't watch a new folder: {error}");
        }
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if matters(&self.root, &path, &self.extra) {
                files.insert(path.strip_prefix(&self.root).unwrap_or(&path).to_owned());
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut apps = self.watcher.0.apps.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = apps.get_mut(&self.root) {
            told.retain(|told| told.number != self.number);
            if told.is_empty() {
                apps.remove(&self.root);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_app_is_made_of_matters() {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let extra = Extra {
            files: texts(&["rules.yml", "data/a.csv"]),
            directories: texts(&["/templates/", ".venv"]),
        };
        let check = |path: &str| matters(Path::new("/app"), &Path::new("/app").join(path), &extra);
        for path in [
            "function_app.py",
            "a/b/c.py",
            "host.json",
            "Fn/function.json",
            "requirements.txt",
            "x/rules.yml",
            "data/a.csv",
            "templates/deep/page.html",
        ] {
            assert!(check(path), "{path}");
        }
        for path in [
            "__pycache__/a.py",
            ".venv/lib/x.py",
            "a.pyc",
            "README.md",
            "b/a.csv",
            "more/templates/page.html",
            ".#function_app.py",
            "a.py~",
            "sub/.git/x.py",
        ] {
            assert!(!check(path), "{path}");
        }
        assert!(!matters(Path::new("/app"), Path::new("/other/a.py"), &extra));
    }

    /// Watches are the system's, and all apps have the same.
    #[test]
    fn no_app_takes_watches_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for number in 0..FOLDERS_MAX + 10 {
            std::fs::create_dir(root.join(number.to_string())).unwrap();
        }
        let watch = Watch::start(&Watcher::start().unwrap(), &root).unwrap();
        assert!(watch.watched.len() == FOLDERS_MAX && watch.is_full);
    }

    #[tokio::test]
    async fn one_watcher_tells_each_app_of_its_own_files() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let watcher = Watcher::start().unwrap();
        let mut watches = ["shop", "blog"].map(|name| {
            std::fs::create_dir(root.join(name)).unwrap();
            Watch::start(&watcher, &root.join(name)).unwrap()
        });
        std::fs::write(root.join("blog/function_app.py"), "x").unwrap();
        std::fs::write(root.join("shop/host.json"), "x").unwrap();
        for (watch, file) in watches.iter_mut().zip(["host.json", "function_app.py"]) {
            let files = watch.changed().await.unwrap();
            assert_eq!(files.into_iter().collect::<Vec<_>>(), [PathBuf::from(file)]);
        }
    }

    #[tokio::test]
    async fn a_saved_file_and_one_in_a_new_folder_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir(root.join(".venv")).unwrap();
        let watcher = Watcher::start().unwrap();
        let mut watch = Watch::start(&watcher, &root).unwrap();
        std::fs::write(root.join(".venv/ignored.py"), "x").unwrap();
        std::fs::write(root.join("function_app.py"), "x").unwrap();
        let files = watch.changed().await.unwrap();
        assert_eq!(files.into_iter().collect::<Vec<_>>(), [PathBuf::from("function_app.py")]);
        std::fs::create_dir(root.join("lib")).unwrap();
        std::fs::write(root.join("lib/new.py"), "x").unwrap();
        let files = watch.changed().await.unwrap();
        assert_eq!(files.into_iter().collect::<Vec<_>>(), [PathBuf::from("lib/new.py")]);
        // And changes in it are seen from now on.
        std::fs::write(root.join("lib/other.py"), "x").unwrap();
        let files = watch.changed().await.unwrap();
        assert_eq!(files.into_iter().collect::<Vec<_>>(), [PathBuf::from("lib/other.py")]);
    }
}
