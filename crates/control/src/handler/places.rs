//! Where a handler finds its code and its layers on AWS: `/var/task` and `/opt`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// Where AWS puts the code of a function.
const TASK: &str = "/var/task";
/// Where AWS unpacks layers, over each other.
const OPT: &str = "/opt";
/// Links of one box. Layers that share more folders than this have the rest of them from the last layer alone.
const LINKS_MAX: usize = 2048;

/// Links of the box, by path: the folder of the app and its layers where they are on AWS, in the order in which they were
/// named. A later layer's files win (facts of Lambda, section 1.7). `seen` is what of the machine is in the box: nothing
/// goes over that.
pub(crate) fn links(root: &Path, layers: &[PathBuf], seen: &[&Path]) -> BTreeMap<PathBuf, PathBuf> {
    let mut links = BTreeMap::new();
    let is_taken = |path: &Path| seen.iter().any(|one| one.starts_with(path) || path.starts_with(one));
    if !is_taken(Path::new(TASK)) {
        links.insert(PathBuf::from(TASK), root.to_owned());
    }
    if !is_taken(Path::new(OPT)) {
        let folders: Vec<PathBuf> = layers.iter().filter(|layer| layer.is_dir()).cloned().collect();
        lay_over(Path::new(OPT), &folders, &mut links);
    }
    links
}

/// Makes folders that lie over each other one: a link if there is but one, else a link for each thing in them.
fn lay_over(path: &Path, folders: &[PathBuf], links: &mut BTreeMap<PathBuf, PathBuf>) {
    let Some((last, others)) = folders.split_last() else { return };
    let names = if others.is_empty() { None } else { names(folders) };
    let Some(names) = names.filter(|names| links.len() + names.len() <= LINKS_MAX) else {
        links.insert(path.to_owned(), last.clone());
        return;
    };
    for name in names {
        let named = folders.iter().rev().map(|folder| folder.join(&name)).filter(|one| one.exists());
        let named: Vec<PathBuf> = named.collect();
        // What is no folder hides what the layers below have under its name.
        let mut on_top: Vec<PathBuf> = named.iter().take_while(|one| one.is_dir()).cloned().collect();
        if on_top.is_empty() {
            on_top.extend(named.into_iter().take(1));
        }
        on_top.reverse();
        lay_over(&path.join(&name), &on_top, links);
    }
}

/// What is in any of the folders; `None` if one can't be read.
fn names(folders: &[PathBuf]) -> Option<BTreeSet<OsString>> {
    let mut names = BTreeSet::new();
    for folder in folders {
        for entry in fs::read_dir(folder).ok()? {
            names.insert(entry.ok()?.file_name());
        }
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, *name).unwrap();
        }
        folder
    }

    #[track_caller]
    fn check(layers: &[&tempfile::TempDir], expected: &[(&str, usize, &str)]) {
        let folders: Vec<PathBuf> = layers.iter().map(|layer| layer.path().to_owned()).collect();
        let expected: BTreeMap<PathBuf, PathBuf> = expected
            .iter()
            .map(|(path, layer, below)| (PathBuf::from(path), folders[*layer].join(below)))
            .collect();
        let mut found = links(Path::new("/srv/app"), &folders, &[Path::new("/usr")]);
        assert_eq!(found.remove(Path::new(TASK)), Some(PathBuf::from("/srv/app")));
        // A link to a folder and one to what is below it by an empty path are the same.
        let found: Vec<_> = found.into_iter().collect();
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn one_layer_is_a_link() {
        let layer = tree(&["python/words.py", "bin/tool"]);
        check(&[], &[]);
        check(&[&layer], &[("/opt", 0, "")]);
    }

    #[test]
    fn later_layers_lie_over_earlier_ones() {
        let (first, second) = (
            tree(&["python/a.py", "python/both.py", "bin/tool", "kind", "other/x"]),
            tree(&["python/b.py", "python/both.py", "kind/below", "other"]),
        );
        check(
            &[&first, &second],
            &[
                ("/opt/bin", 0, "bin"),
                ("/opt/kind", 1, "kind"),
                ("/opt/other", 1, "other"),
                ("/opt/python/a.py", 0, "python/a.py"),
                ("/opt/python/b.py", 1, "python/b.py"),
                ("/opt/python/both.py", 1, "python/both.py"),
            ],
        );
    }

    /// A box whose interpreter or app is there has no links in its place.
    #[test]
    fn nothing_goes_over_what_is_seen() {
        let layer = tree(&["python/words.py"]);
        let layers = [layer.path().to_owned()];
        let check = |seen: &str, expected: &[&str]| {
            let found = links(Path::new("/srv/app"), &layers, &[Path::new(seen)]);
            let found: Vec<String> = found.keys().map(|path| path.display().to_string()).collect();
            assert_eq!(found, expected, "{seen}");
        };
        check("/srv/app", &["/opt", "/var/task"]);
        check("/opt/python3.13", &["/var/task"]);
        check("/opt", &["/var/task"]);
        check("/var/task", &["/opt"]);
        check("/var", &["/opt"]);
    }
}
