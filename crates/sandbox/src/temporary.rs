//! A folder for temporary files of one app, where its box has no `/tmp` of its own.

use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use crate::boxes::Identity;
use crate::remove;

/// The folder; it is removed when this is dropped.
#[derive(Debug)]
pub struct Temporary(PathBuf);

impl Temporary {
    /// Makes one that nobody but the box's user may enter.
    ///
    /// # Errors
    /// Those of the system.
    pub fn new(identity: Identity) -> io::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("ingle-functions-")
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir()?;
        if let Identity::Own { user } = identity {
            chown(folder.path(), Some(user), Some(user))?;
        }
        // It is removed in our own way: what functions leave there may be deeper than the library's goes.
        Ok(Self(folder.keep()))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What is left, as somebody may go on writing, the next restart of the machine removes.
        remove::tree(self.path()).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_nobody_else_s_and_goes_with_its_owner() {
        let (user, group) = crate::process::user();
        let temporary = Temporary::new(Identity::Same { user, group }).unwrap();
        let path = temporary.path().to_owned();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::create_dir_all(path.join("a/b")).unwrap();
        drop(temporary);
        assert!(!path.exists());
    }
}
