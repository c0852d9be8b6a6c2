//! Carries the error pages of `docs/errors` in the binary, so that `ingle explain` works offline.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut names: Vec<String> = fs::read_dir(&folder)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| {
            name.starts_with('E') && Path::new(name).extension().is_some_and(|extension| extension == "md")
        })
        .collect();
    names.sort();
    let mut table =
        String::from("/// Code and page of every error.\npub(crate) const PAGES: &[(&str, &str)] = &[\n");
    for name in names {
        let path = folder.join(&name).canonicalize()?;
        let code = name.trim_end_matches(".md");
        writeln!(table, "    ({code:?}, include_str!({path:?})),").map_err(io::Error::other)?;
    }
    table.push_str("];\n");
    #[expect(
        clippy::disallowed_methods,
        reason = "cargo tells build scripts where to write through the environment"
    )]
    let target = env::var("OUT_DIR").map_err(io::Error::other)?;
    fs::write(Path::new(&target).join("pages.rs"), table)
}
