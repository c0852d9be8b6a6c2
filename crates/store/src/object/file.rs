//! An object as a local file, for functions that want a path instead of bytes.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::stage;
use bytes::Bytes;

const NAME_LENGTH_MAX: usize = 100;

/// A read-only copy of an object. It is removed when this is dropped; the server removes what a crash has left when
/// it opens the store.
///
/// A copy and no link: nothing that is done to it reaches the store.
#[derive(Debug)]
pub struct ObjectFile {
    /// Holds only this file.
    folder: PathBuf,
    path: PathBuf,
}

impl ObjectFile {
    /// An absolute path, which ends like the name of the object as far as that is a plain name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn make(below: &Path, name: &str, content: Source) -> io::Result<Self> {
        let folder = below.join(uuid::Uuid::new_v4().simple().to_string());
        fs::create_dir_all(&folder)?;
        // From here on the folder is removed also when something fails.
        let file = Self { path: fs::canonicalize(&folder)?.join(plain_name(name)), folder };
        match content {
            Source::Bytes(bytes) => stage::write(&bytes, &file.path)?,
            Source::File(mut source) => drop(stage::copy(&mut source, &file.path)?),
        }
        fs::set_permissions(&file.path, Permissions::from_mode(0o444))?;
        Ok(file)
    }
}

pub(super) enum Source {
    Bytes(Bytes),
    File(File),
}

impl Drop for ObjectFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::debug!(%error, "a handed file stays until the next start");
        }
    }
}

/// The last part of a blob's name with everything replaced that means something to a shell or a file system (T-026).
fn plain_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain: String = last
        .chars()
        .map(|character| match character {
            _ if character.is_alphanumeric() => character,
            '.' | '-' | '_' | ' ' | '(' | ')' | '+' | '@' | ',' => character,
            _ => '_',
        })
        .collect();
    // The end stays, as it says what kind of file it is; a leading dot would hide it, or be a way out.
    let mut start = plain.len().saturating_sub(NAME_LENGTH_MAX);
    while !plain.is_char_boundary(start) {
        start += 1;
    }
    let plain = plain[start..].trim_start_matches(['.', '-', ' ']);
    if plain.is_empty() { "content".to_owned() } else { plain.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_026_a_local_name_is_plain_whatever_the_blob_is_called() {
        for (name, expected) in [
            ("in/photo.jpg", "photo.jpg"),
            ("..", "content"),
            ("../../etc/passwd", "passwd"),
            ("a\\..\\b.txt", "b.txt"),
            ("x/", "content"),
            (".bashrc", "bashrc"),
            ("-rf", "rf"),
            ("a;b$(c)\"d.txt", "a_b_(c)_d.txt"),
            ("grüße ☃.pdf", "grüße _.pdf"),
        ] {
            assert_eq!(plain_name(name), expected, "{name}");
        }
        let long = plain_name(&format!("{}.jpeg", "ü".repeat(1000)));
        assert!(long.len() <= NAME_LENGTH_MAX && long.ends_with(".jpeg"), "{long}");
    }

    #[test]
    fn the_file_is_a_read_only_copy_and_goes_with_its_guard() {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("source");
        fs::write(&source, "content").unwrap();
        let content = Source::File(File::open(&source).unwrap());
        let file = ObjectFile::make(&directory.path().join("handed"), "a/b.txt", content).unwrap();
        let path = file.path().to_owned();
        assert!(path.is_absolute() && path.ends_with("b.txt"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "content");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o444);
        drop(file);
        assert!(!path.exists());
        assert_eq!(fs::read_dir(directory.path().join("handed")).unwrap().count(), 0);
        assert_eq!(fs::read_to_string(&source).unwrap(), "content");
    }
}
