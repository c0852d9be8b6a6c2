//! Storage accounts in the cloud: what a connection setting comes to once it has been read.
//!
//! The secret of an account is only in [`Secret`], which shows nothing of itself.

use std::fmt;
use std::sync::Arc;

/// Where the data of a queue, blob or table binding are.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub enum Account {
    /// In the store beside the app.
    #[default]
    Embedded,
    /// In an account of Azure Storage, or of something that speaks like it.
    Remote(Arc<StorageAccount>),
}

impl Account {
    /// The account in the cloud, if it is one.
    pub fn remote(&self) -> Option<&Arc<StorageAccount>> {
        match self {
            Self::Embedded => None,
            Self::Remote(account) => Some(account),
        }
    }
}

/// An account with the addresses of its services, without `/` at their ends. A service whose address is not known
/// can't be used.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct StorageAccount {
    /// Name of the setting that it was read from; how messages and logs call it.
    pub connection: String,
    pub queues: Option<String>,
    pub blobs: Option<String>,
    pub tables: Option<String>,
    pub credential: Credential,
}

/// What opens an account.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Credential {
    /// Every request is signed with the account's key, which is held in Base64.
    SharedKey { account: String, key: Secret },
    /// A shared access signature: a query that goes with every request, without `?`.
    Signature(Secret),
    /// Tokens that the platform gives to this machine.
    Identity(Identity),
}

/// A managed identity of Azure: where its tokens come from.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Identity {
    pub endpoint: TokenEndpoint,
    /// Which of several identities; the machine's own if absent.
    pub client_id: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum TokenEndpoint {
    /// That of a virtual machine.
    Machine,
    /// That of a hosting service: `IDENTITY_ENDPOINT` and `IDENTITY_HEADER`.
    Service { address: String, header: Secret },
}

/// A text that must not be shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T-041.
    #[test]
    fn a_secret_is_never_shown() {
        let key = Secret::new("c2VjcmV0");
        let credential = Credential::SharedKey { account: "shop".to_owned(), key };
        let account = StorageAccount {
            connection: "Storage".to_owned(),
            queues: None,
            blobs: None,
            tables: None,
            credential,
        };
        let shown = format!("{:?}", Account::Remote(Arc::new(account)));
        assert!(shown.contains("shop") && shown.contains("***") && !shown.contains("c2VjcmV0"), "{shown}");
    }
}
