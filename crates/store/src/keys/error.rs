//! What can go wrong with keys.

use std::path::PathBuf;

use ingle_types::outcome::Blame;

/// Nothing of this lets anybody in: without readable keys every key is wrong (T-054).
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the keys in {} can't be read or written", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("others than the owner may read the keys in {}", path.display())]
    TooOpen { path: PathBuf },
    #[error("{} does not hold keys", path.display())]
    Damaged { path: PathBuf, source: serde_json::Error },
    #[error("the keys in {} are from a newer version of Ingle", path.display())]
    Newer { path: PathBuf },
    #[error("there is no {scope} key `{name}`")]
    NoSuchKey { scope: String, name: String },
    #[error("`{0}` can't be the name of a key")]
    BadName(String),
    #[error("a key has {min} to {max} visible ASCII characters")]
    BadKey { min: usize, max: usize },
    #[error("the machine gives no random bytes: {0}")]
    Randomness(String),
}

impl KeyError {
    /// Stable code with a page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoSuchKey { .. } | Self::BadName(_) | Self::BadKey { .. } => "E0509",
            Self::Io { .. }
            | Self::TooOpen { .. }
            | Self::Damaged { .. }
            | Self::Newer { .. }
            | Self::Randomness(_) => "E0507",
        }
    }

    pub fn blame(&self) -> Blame {
        match self {
            Self::NoSuchKey { .. } | Self::BadName(_) | Self::BadKey { .. } => Blame::Caller,
            _ => Blame::Platform,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Io { .. } => "look at the disk and at the rights on the file".to_owned(),
            Self::TooOpen { path } => format!("chmod 600 {}", path.display()),
            Self::Damaged { .. } => {
                "put a copy of the file back, or delete it and make new keys with `ingle keys create`"
                    .to_owned()
            }
            Self::Newer { .. } => "use the newer version, or delete the file and make new keys".to_owned(),
            Self::NoSuchKey { .. } => "`ingle keys ls` lists the keys".to_owned(),
            Self::BadName(_) => "use 1 to 127 letters, digits, `_`, `-` and `.`".to_owned(),
            Self::BadKey { .. } => "leave the value out and let Ingle make one".to_owned(),
            Self::Randomness(_) => return None,
        };
        Some(hint)
    }
}
