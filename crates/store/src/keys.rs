//! The keys that callers of functions show: kept hashed, in a file of its own beside the database.
//!
//! A key is 40 random bytes, so one SHA-256 over a salt of the store and the key is enough: there is nothing to guess,
//! and nothing in the file opens a door (T-040). A file, because `ingle keys` has to work while a server holds the
//! database, and that server has to see the change at once: it looks whether the file is another one than before.
//!
//! | to find | look in |
//! |---|---|
//! | what a shown key may do | [`KeyRing::identify`] |
//! | reading, changing and watching the file | [`KeyFile`] |

use std::fmt;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use ingle_types::clock::unix_ms;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

mod digest;
mod error;
mod file;

use digest::Hash;
pub use error::KeyError;
pub use file::{KeyFile, Stamp};

/// Bytes of a key that is made here; Azure's are as long (facts 3.5).
const KEY_BYTES: usize = 40;
/// Shortest and longest key that may be chosen by hand.
const CHOSEN_CHARS_MIN: usize = 8;
const CHOSEN_CHARS_MAX: usize = 1024;
/// Names of keys, as Azure's tools write them.
pub const MASTER: &str = "_master";
pub const DEFAULT: &str = "default";

/// What a key is for.
#[derive(Clone, PartialEq, Eq, Debug, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyScope {
    /// Everything. There is one.
    Master,
    /// Every function.
    Host,
    /// One extension's webhook; the name says which, e.g. `eventgrid_extension`.
    System,
    /// Routes of a project's APIs that ask for a key, and nothing else.
    Api,
    /// One function, in lower case.
    Function(String),
}

impl KeyScope {
    pub fn function(name: &str) -> Self {
        Self::Function(name.to_lowercase())
    }
}

impl fmt::Display for KeyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Master => f.write_str("master"),
            Self::Host => f.write_str("host"),
            Self::System => f.write_str("system"),
            Self::Api => f.write_str("API"),
            Self::Function(name) => write!(f, "function {name}"),
        }
    }
}

/// What whoever shows a key may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// No key, or none that is known here.
    Anonymous,
    Function,
    /// With the key's name.
    System(String),
    Admin,
}

/// The text of a key. Shown once, when it is made; its debug form hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText(String);

impl KeyText {
    /// 40 random bytes as URL-safe base64: 56 characters.
    ///
    /// # Errors
    /// The machine has no randomness.
    pub fn random() -> Result<Self, KeyError> {
        let mut bytes = [0; KEY_BYTES];
        fill(&mut bytes)?;
        Ok(Self(URL_SAFE.encode(bytes)))
    }

    /// A key that was chosen elsewhere, e.g. taken over from a cloud.
    ///
    /// # Errors
    /// It is too short to be a secret, or can't stand in a header.
    pub fn chosen(text: &str) -> Result<Self, KeyError> {
        let count = text.chars().count();
        let fits = (CHOSEN_CHARS_MIN..=CHOSEN_CHARS_MAX).contains(&count);
        if !fits || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(KeyError::BadKey { min: CHOSEN_CHARS_MIN, max: CHOSEN_CHARS_MAX });
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether it is the one that is shown. The time taken tells no more than its length.
    pub fn is(&self, shown: &str) -> bool {
        self.0.as_bytes().ct_eq(shown.as_bytes()).into()
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyText(***)")
    }
}

/// A key as it is listed: never with its text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeySummary {
    pub scope: KeyScope,
    pub name: String,
    pub created_ms: i64,
    /// Until when the key before the last rotation is still taken, in milliseconds since 1970.
    pub previous_until_ms: Option<i64>,
}

/// Every key of an app, hashed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyRing {
    version: u32,
    salt: Hash,
    keys: Vec<Key>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Key {
    scope: KeyScope,
    name: String,
    sha256: Hash,
    created_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<Previous>,
}

/// The key before a rotation, taken for a while longer (T-041).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Previous {
    sha256: Hash,
    until_ms: i64,
}

impl Key {
    /// In constant time.
    fn fits(&self, hash: &Hash, now_ms: i64) -> Choice {
        let is_previous = self.previous.as_ref().map_or(Choice::from(0), |previous| {
            previous.sha256.0.ct_eq(&hash.0) & Choice::from(u8::from(now_ms < previous.until_ms))
        });
        self.sha256.0.ct_eq(&hash.0) | is_previous
    }
}

impl KeyRing {
    /// Without keys: nobody is let in.
    ///
    /// # Errors
    /// The machine has no randomness for the salt.
    pub fn empty() -> Result<Self, KeyError> {
        let mut salt = [0; 32];
        fill(&mut salt)?;
        Ok(Self { version: 1, salt: Hash(salt), keys: Vec::new() })
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub fn list(&self) -> Vec<KeySummary> {
        let summary = |key: &Key| KeySummary {
            scope: key.scope.clone(),
            name: key.name.clone(),
            created_ms: key.created_ms,
            previous_until_ms: key.previous.as_ref().map(|previous| previous.until_ms),
        };
        let mut list: Vec<KeySummary> = self.keys.iter().map(summary).collect();
        list.sort_by(|one, other| (&one.scope, &one.name).cmp(&(&other.scope, &other.name)));
        list
    }

    /// What the holder of `shown` may do with `function`. Every key is compared, each in constant time, so the time
    /// taken tells nothing about which one was near (T-040). Of several that fit, the mightiest counts: master,
    /// system, host, function (facts 3.5).
    pub fn identify(&self, shown: &str, function: Option<&str>, now: SystemTime) -> Standing {
        let hash = self.hash(shown);
        let now = unix_ms(now);
        let function = function.map(str::to_lowercase);
        // 0 stands for no key; a place in the list is one more.
        let (mut master, mut system, mut other) = (0_u64, 0_u64, 0_u64);
        for (place, key) in (1_u64..).zip(&self.keys) {
            let fits = key.fits(&hash, now);
            match &key.scope {
                KeyScope::Master => master.conditional_assign(&place, fits),
                KeyScope::System => system.conditional_assign(&place, fits),
                KeyScope::Host => other.conditional_assign(&place, fits),
                KeyScope::Function(name) if Some(name) == function.as_ref() => {
                    other.conditional_assign(&place, fits);
                }
                KeyScope::Function(_) | KeyScope::Api => {}
            }
        }
        let system = usize::try_from(system).ok().and_then(|place| self.keys.get(place.checked_sub(1)?));
        match (master, system, other) {
            (1.., _, _) => Standing::Admin,
            (0, Some(key), _) => Standing::System(key.name.clone()),
            (0, None, 1..) => Standing::Function,
            (0, None, 0) => Standing::Anonymous,
        }
    }

    /// The name of the key for routes of APIs that is shown. As above, every key is compared.
    pub fn api_key(&self, shown: &str, now: SystemTime) -> Option<&str> {
        let (hash, now) = (self.hash(shown), unix_ms(now));
        let mut found = 0_u64;
        for (place, key) in (1_u64..).zip(&self.keys) {
            found.conditional_assign(
                &place,
                key.fits(&hash, now) & Choice::from(u8::from(key.scope == KeyScope::Api)),
            );
        }
        let place = usize::try_from(found).ok()?.checked_sub(1)?;
        self.keys.get(place).map(|key| key.name.as_str())
    }

    /// Sets a key, and says whether the name is new. The key of that name before is void at once.
    ///
    /// # Errors
    /// The name can't be one.
    pub fn set(
        &mut self,
        scope: &KeyScope,
        name: &str,
        text: &KeyText,
        now: SystemTime,
    ) -> Result<bool, KeyError> {
        check_name(name)?;
        let key = Key {
            scope: scope.clone(),
            name: name.to_owned(),
            sha256: self.hash(text.reveal()),
            created_ms: unix_ms(now),
            previous: None,
        };
        let place = self.place(scope, name);
        match place {
            Some(place) => self.keys[place] = key,
            None => self.keys.push(key),
        }
        Ok(place.is_none())
    }

    /// Whether there is such a key.
    pub fn has(&self, scope: &KeyScope, name: &str) -> bool {
        self.place(scope, name).is_some()
    }

    /// Replaces a key; the old one is taken until `old_until`.
    ///
    /// # Errors
    /// There is no such key.
    pub fn rotate(
        &mut self,
        scope: &KeyScope,
        name: &str,
        text: &KeyText,
        (now, old_until): (SystemTime, SystemTime),
    ) -> Result<(), KeyError> {
        let sha256 = self.hash(text.reveal());
        let place = self.place(scope, name).ok_or_else(|| no_key(scope, name))?;
        let key = &mut self.keys[place];
        let old = std::mem::replace(&mut key.sha256, sha256);
        let until_ms = unix_ms(old_until);
        key.previous = (old_until > now).then_some(Previous { sha256: old, until_ms });
        key.created_ms = unix_ms(now);
        Ok(())
    }

    /// Deletes a key.
    ///
    /// # Errors
    /// There is no such key.
    pub fn delete(&mut self, scope: &KeyScope, name: &str) -> Result<(), KeyError> {
        let place = self.place(scope, name).ok_or_else(|| no_key(scope, name))?;
        self.keys.remove(place);
        Ok(())
    }

    fn place(&self, scope: &KeyScope, name: &str) -> Option<usize> {
        self.keys.iter().position(|key| key.scope == *scope && key.name.eq_ignore_ascii_case(name))
    }

    /// SHA-256 over salt and key. The salt has a fixed length, so no two pairs give the same bytes.
    fn hash(&self, text: &str) -> Hash {
        let mut hasher = Sha256::new();
        hasher.update(self.salt.0);
        hasher.update(text.as_bytes());
        Hash(hasher.finalize().into())
    }
}

fn no_key(scope: &KeyScope, name: &str) -> KeyError {
    KeyError::NoSuchKey { scope: scope.to_string(), name: name.to_owned() }
}

/// Names stand in URLs and in lists.
fn check_name(name: &str) -> Result<(), KeyError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if name.is_empty() || name.len() > 127 || !name.bytes().all(plain) {
        return Err(KeyError::BadName(name.to_owned()));
    }
    Ok(())
}

fn fill(bytes: &mut [u8]) -> Result<(), KeyError> {
    getrandom::fill(bytes).map_err(|error| KeyError::Randomness(error.to_string()))
}

#[cfg(test)]
mod tests;
