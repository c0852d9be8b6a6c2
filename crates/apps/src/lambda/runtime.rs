//! Functions whose runtime is a program: the `bootstrap` of a custom runtime, or AWS's own for Python.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ingle_types::spec::{LambdaOptions, LambdaRuntime};
use serde_json::{Value, json};

use super::Handler;
use crate::Error;

/// The program of a custom runtime, in the folder of a function or in a layer.
pub(crate) const BOOTSTRAP: &str = "bootstrap";
/// Where a layer has programs that run beside the runtime.
const EXTENSIONS: &str = "extensions";
/// What a handler of a custom runtime may have: its program alone knows what it means.
pub(crate) const NAME_CHARACTERS_MAX: usize = 128;

/// The handler of a folder with a custom runtime: the one that is named, or the program itself.
///
/// # Errors
/// What is named can't be a handler of any runtime.
pub(crate) fn find(named: Option<(&str, &str)>) -> Result<Handler, Error> {
    let (name, why) = match named {
        Some((name, source)) if !is_name(name) => {
            return Err(Error::NoHandler { name: name.to_owned(), named_by: source.to_owned() });
        }
        Some((name, source)) => (name, format!("{name}, named by {source}, of a custom runtime")),
        None => (BOOTSTRAP, format!("{BOOTSTRAP}, a custom runtime for AWS Lambda")),
    };
    Ok(Handler { name: name.to_owned(), script_file: BOOTSTRAP.to_owned(), why })
}

/// Whether a runtime can be told to run it.
pub(crate) fn is_name(name: &str) -> bool {
    let is_fine = |letter: char| !letter.is_whitespace() && !letter.is_control();
    !name.is_empty() && name.len() <= NAME_CHARACTERS_MAX && name.chars().all(is_fine)
}

/// Whether the folder has the program of a custom runtime.
pub(crate) fn is_provided(root: &Path) -> bool {
    let found = std::fs::metadata(root.join(BOOTSTRAP));
    found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Tells the worker what the runtime is.
pub(super) fn declare(settings: &mut Value, root: &Path, options: &LambdaOptions) {
    let extensions = options.layers.iter().rev().map(|layer| layer.join(EXTENSIONS));
    let extensions: Vec<PathBuf> = extensions.filter(|folder| folder.is_dir()).collect();
    if !extensions.is_empty() {
        settings["extensions"] = json!(extensions);
    }
    match options.runtime {
        LambdaRuntime::Worker => {}
        LambdaRuntime::Ric => settings["runtime"] = json!("awslambdaric"),
        LambdaRuntime::Provided => {
            settings["runtime"] = json!("provided");
            settings["programs"] = json!(programs(root, &options.layers));
        }
    }
}

/// Where the program may be, first the function's own (facts of Lambda, section 1.6).
fn programs(root: &Path, layers: &[PathBuf]) -> Vec<PathBuf> {
    let folders = std::iter::once(root).chain(layers.iter().rev().map(PathBuf::as_path));
    folders.map(|folder| folder.join(BOOTSTRAP)).collect()
}

/// What a runtime finds in its environment of itself. Custom ones have no name there.
pub(super) fn variables(runtime: LambdaRuntime, version: (u32, u32, u32)) -> Vec<(&'static str, String)> {
    let name = ("AWS_EXECUTION_ENV", format!("AWS_Lambda_python{}.{}", version.0, version.1));
    let folder = ("LAMBDA_RUNTIME_DIR", "/var/runtime".to_owned());
    match runtime {
        LambdaRuntime::Worker => vec![name],
        LambdaRuntime::Provided => vec![folder],
        LambdaRuntime::Ric => vec![name, folder],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_custom_runtime_takes_any_name() {
        let name = |named| find(Some((named, "--handler"))).map(|handler| handler.name).ok();
        for fine in ["hello.handler", "bootstrap", "com.example.Main::run", "../x"] {
            assert_eq!(name(fine).as_deref(), Some(fine));
        }
        let long = "x".repeat(NAME_CHARACTERS_MAX + 1);
        for bad in ["", "a b", "a\n", long.as_str()] {
            assert_eq!(name(bad), None, "{bad}");
        }
        assert_eq!(find(None).unwrap().name, BOOTSTRAP);
    }

    #[test]
    fn a_bootstrap_is_a_program() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(BOOTSTRAP);
        assert!(!is_provided(folder.path()));
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(!is_provided(folder.path()));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(is_provided(folder.path()));
    }

    #[test]
    fn the_function_s_own_program_goes_before_those_of_layers() {
        let mut settings = json!({});
        let layers = vec![PathBuf::from("/a"), PathBuf::from("/b")];
        let options = LambdaOptions { runtime: LambdaRuntime::Provided, layers, ..LambdaOptions::default() };
        declare(&mut settings, Path::new("/app"), &options);
        assert_eq!(settings["programs"], json!(["/app/bootstrap", "/b/bootstrap", "/a/bootstrap"]));
    }
}
