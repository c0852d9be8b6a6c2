//! Code that is no folder yet: zips, and what stands in the project's file.

use std::path::Path;

use ingle_types::problem::Problem;

use super::{Project, ProjectFunction};
use crate::archive::{self, ArchiveError};

/// As CloudFormation calls the file that it makes of code in a template.
const INLINE: &str = "index.py";

impl Project {
    /// Unpacks zips with code or layers into the cache, and writes code of the file there; their functions have folders then. Those
    /// of a zip that is refused are left out, with the reason among the problems.
    pub fn unpack(&mut self, root: &Path, cache: &Path) {
        let file = self.file.display().to_string();
        let (problems, inline) = (&mut self.problems, &self.inline);
        self.functions.retain_mut(|function| {
            let text = inline.get(&function.id).map(String::as_str);
            let Err(error) = unpacked(function, text, root, cache) else { return true };
            let own = function.file.as_ref().map(|file| file.display().to_string());
            let problem = Problem::error(error.code(), error.to_string())
                .at(own.unwrap_or_else(|| file.clone()), Some(function.line));
            problems.push(problem.function(&function.id).fix(error.hint()));
            false
        });
    }
}

fn unpacked(
    function: &mut ProjectFunction,
    inline: Option<&str>,
    root: &Path,
    cache: &Path,
) -> Result<(), ArchiveError> {
    if let Some(text) = inline {
        function.code = archive::keep(text, (&function.id, INLINE), cache)?;
    }
    let paths = std::iter::once(&mut function.code).chain(&mut function.layers);
    for path in paths.filter(|path| archive::is_zip(path) && root.join(path).is_file()) {
        *path = archive::unpack(&root.join(&*path), cache)?;
    }
    Ok(())
}
