//! Builds the native part of the Python worker, which the server carries inside and lays out beside the Python files.
//!
//! A crate of one file, built by the compiler itself: a second cargo inside a build would wait for the first one's lock.

#![expect(
    clippy::disallowed_methods,
    clippy::exit,
    reason = "cargo talks to build scripts through the environment and the exit code"
)]

use std::env;
use std::path::PathBuf;
use std::process::{Command, exit};

fn main() {
    let source = "entry/entry.rs";
    println!("cargo::rerun-if-changed=entry");
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| env::var_os(name).unwrap_or_default();
    let target = PathBuf::from(variable("OUT_DIR")).join("ingle_entry.so");
    let mut compiler = Command::new(variable("RUSTC"));
    compiler
        .args(["--crate-name", "ingle_entry", "--crate-type", "cdylib", "--edition", "2024"])
        .args(["-C", "panic=abort", "-C", "opt-level=2", "-C", "strip=symbols", "-C", "codegen-units=1"])
        // Python's own functions are found when the interpreter loads the library.
        .args(["-C", "link-arg=-nostartfiles", "-D", "warnings"])
        .arg("--target")
        .arg(variable("TARGET"))
        .arg("-o")
        .arg(&target)
        .arg(source);
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut argument = std::ffi::OsString::from("linker=");
        argument.push(linker);
        compiler.arg("-C").arg(argument);
    }
    match compiler.status() {
        Ok(status) if status.success() => {}
        Ok(status) => fail(&format!("the compiler ended with {status}")),
        Err(error) => fail(&format!("the compiler could not be started: {error}")),
    }
}

fn fail(problem: &str) -> ! {
    println!("cargo::error=the native part of the worker could not be built: {problem}");
    exit(1)
}
