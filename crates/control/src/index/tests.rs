//! What tells versions of an app apart, and what is kept of an import.

use ingle_apps::{Environment, Interpreter, ReadOptions, Site};
use ingle_types::problem::Problem;

use super::*;

/// An app in a folder, as it is before its import.
struct Known {
    folder: tempfile::TempDir,
}

impl Known {
    fn new() -> Self {
        let known = Self { folder: tempfile::tempdir().unwrap() };
        known.write("host.json", "{\"version\": \"2.0\"}");
        known.write("function_app.py", "import azure.functions as func\napp = func.FunctionApp()\n");
        known.write("lib/deep/words.txt", "a");
        known
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("app")
    }

    fn index_with(&self, variables: &[(&str, &str)], version: (u32, u32, u32)) -> Index {
        let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let variables: BTreeMap<String, String> = variables.iter().map(text).collect();
        let python = PathBuf::from("/nowhere/bin/python");
        let read = ReadOptions {
            functions: Vec::new(),
            python: None,
            directory: self.root(),
            environment: BTreeMap::new(),
            home: self.root(),
            cache: self.root(),
            ..ReadOptions::default()
        };
        let prepared = Prepared {
            folder: ingle_apps::read(&self.root(), &read).unwrap(),
            interpreter: Interpreter {
                path: python.clone(),
                version,
                why: String::new(),
                environment: None,
                problems: Vec::new(),
            },
            environment: Environment {
                python,
                site: Site::Python,
                linked: Vec::new(),
                why: String::new(),
                built: false,
                seconds: 0.0,
                problems: Vec::new(),
            },
            debugger: None,
        };
        Index::of(self.folder.path(), &prepared, Path::new("/shim"), &variables).unwrap()
    }

    fn index(&self) -> Index {
        self.index_with(&[("A", "1")], (3, 12, 1))
    }
}

#[test]
fn whatever_may_change_what_an_import_finds_changes_the_key() {
    let known = Known::new();
    let mut before = known.index();
    assert!(before.is_of_the_same(&known.index()));
    assert!(
        before.is_of_the_same(
            &known.index_with(&[("A", "1"), ("PWD", "/x"), ("INGLE_LOG", "debug")], (3, 12, 1))
        )
    );
    assert!(!before.is_of_the_same(&known.index_with(&[("A", "2")], (3, 12, 1))));
    assert!(!before.is_of_the_same(&known.index_with(&[("A", "1")], (3, 12, 2))));
    let mut changed = |what: &str| {
        let now = known.index();
        assert!(!before.is_of_the_same(&now), "{what}");
        before = now;
    };
    known.write("function_app.py", "import azure.functions as func\napp = func.FunctionApp( )\n");
    changed("a source");
    known.write("local.settings.json", "{\"Values\": {\"X\": \"1\"}}");
    changed("a setting");
    known.write("lib/deep/words.txt", "ab");
    changed("a file that the import may read");
    known.write("ingle.toml", "[workers]\nfork = \"never\"\n");
    changed("how the app is run");
    fs::rename(known.root().join("lib/deep"), known.root().join("lib/far")).unwrap();
    changed("a name");
    fs::remove_dir_all(known.root().join("lib")).unwrap();
    changed("a file that is gone");
    known.write("__pycache__/function_app.pyc", "x");
    known.write(".ingle/index.json", "x");
    assert!(before.is_of_the_same(&known.index()), "what Python and Ingle write is not the app's");
}

/// T-010: functions may write into folders of the app. What is no file there is neither waited for nor read without end.
#[test]
fn t_010_what_is_no_file_is_known_by_its_name() {
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    let known = Known::new();
    let before = known.index();
    symlink("/dev/zero", known.root().join("zero.py")).unwrap();
    mknodat(CWD, known.root().join("pipe.py"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let index = known.index();
    assert!(!index.is_of_the_same(&before) && index.is_of_the_same(&known.index()));
}

#[test]
fn only_a_good_import_is_kept_and_only_for_its_key() {
    let known = Known::new();
    let index = known.index();
    assert!(index.read().is_none());
    let error = Problem::error("E0202", "syntax");
    index.write(&Loaded { problems: vec![error], ..Loaded::default() });
    assert!(index.read().is_none());
    let warning = Problem::warning("E0240", "number");
    let loaded = Loaded {
        problems: vec![warning],
        sdk: Some("1.21.3".to_owned()),
        unsafe_to_fork: vec!["a thread".to_owned()],
        import_ms: 12.5,
        ..Loaded::default()
    };
    index.write(&loaded);
    let kept = index.read().unwrap();
    assert_eq!((kept.sdk, kept.unsafe_to_fork, kept.import_ms), (loaded.sdk, loaded.unsafe_to_fork, 0.0));
    assert_eq!(kept.problems.len(), 1);
    known.write("function_app.py", "");
    assert!(known.index().read().is_none());
    // Whatever is in the file, it is no reason to fail.
    fs::write(&index.file, "{\"key\": 1").unwrap();
    assert!(index.read().is_none());
}
