//! A content that is too large to be held in memory: a file of this machine.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What keeps a file there for as long as it lives.
pub type Held = Arc<dyn Send + Sync>;

/// A file with a content on its way between a binding and a function. It is gone when the last copy of this is dropped,
/// unless somebody has moved it away.
#[derive(Clone)]
pub struct LocalFile {
    path: PathBuf,
    /// In bytes.
    pub size: u64,
    /// The binding asks for text.
    pub is_text: bool,
    held: Option<Held>,
}

impl LocalFile {
    /// `held` removes the file when it is dropped.
    pub fn new(path: PathBuf, size: u64, held: Option<Held>) -> Self {
        Self { path, size, is_text: false, held }
    }

    /// Says that the function wants text.
    #[must_use]
    pub fn as_text(mut self, is_text: bool) -> Self {
        self.is_text = is_text;
        self
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl PartialEq for LocalFile {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path && self.is_text == other.is_text
    }
}

impl fmt::Debug for LocalFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("LocalFile");
        shown.field("path", &self.path).field("size", &self.size).field("is_text", &self.is_text);
        shown.field("held", &self.held.is_some()).finish()
    }
}
