//! Interpreters that have `azure-functions`.

use std::path::PathBuf;

use crate::machine::workspace;

/// A Python to run an app with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Python {
    /// E.g. `3.9`.
    pub version: &'static str,
    pub program: PathBuf,
}

impl Python {
    /// The Python of a version: `INGLE_TEST_PYTHON_3_9`, else the one that `cargo xtask setup` made.
    pub fn find(version: &'static str) -> Option<Self> {
        let variable = format!("INGLE_TEST_PYTHON_{}", version.replace('.', "_"));
        let made = || workspace().join("target/venvs").join(version).join("bin/python");
        let program = std::env::var_os(variable).map_or_else(made, |given| workspace().join(given));
        program.is_file().then_some(Self { version, program })
    }

    /// Some Python, for stories in which it does not matter which.
    ///
    /// # Panics
    /// If there is none.
    pub fn any() -> Self {
        let found = ["3.11", "3.13", "3.9"].into_iter().find_map(Self::find);
        found.unwrap_or_else(|| panic!("no Python with azure-functions: run `cargo xtask setup`"))
    }

    /// Root of the virtual environment that it belongs to.
    pub fn environment(&self) -> PathBuf {
        self.program.ancestors().nth(2).map(PathBuf::from).unwrap_or_default()
    }

    /// What a short program prints.
    ///
    /// # Panics
    /// If it fails.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output =
            std::process::Command::new(&self.program).arg("-c").arg(program).args(arguments).output();
        let output = output.unwrap_or_else(|error| panic!("can't start {}: {error}", self.program.display()));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Runs a story on one version, if this machine has it.
    #[expect(clippy::print_stdout, reason = "whoever reads the test's output must see what was not tested")]
    pub fn tell(version: &'static str, story: impl FnOnce(&Self)) {
        match Self::find(version) {
            Some(python) => story(&python),
            None => println!("skipped: Python {version} is not on this machine"),
        }
    }
}

/// One test for each story and version: `restaurant::python_3_9::orders_become_documents`.
#[macro_export]
macro_rules! on_each_python {
    ($($story:ident),+ $(,)?) => {
        mod python_3_9 {
            $(#[test] fn $story() { $crate::Python::tell("3.9", super::$story); })+
        }
        mod python_3_13 {
            $(#[test] fn $story() { $crate::Python::tell("3.13", super::$story); })+
        }
    };
}

/// The same on the versions between the oldest and the newest, for stories that touch what differs between them.
#[macro_export]
macro_rules! on_the_pythons_between {
    ($($story:ident),+ $(,)?) => {
        mod python_3_10 {
            $(#[test] fn $story() { $crate::Python::tell("3.10", super::$story); })+
        }
        mod python_3_11 {
            $(#[test] fn $story() { $crate::Python::tell("3.11", super::$story); })+
        }
        mod python_3_12 {
            $(#[test] fn $story() { $crate::Python::tell("3.12", super::$story); })+
        }
    };
}
