//! Which account the data of a queue, blob or table binding are in: from the name of a connection setting to the account.
//!
//! The names are those under which the WebJobs SDK of Azure's host looks (facts 5.1): `AzureWebJobs<name>` before
//! `<name>`, then the connection strings. An empty value, or the word `embedded`, means the embedded store.

use std::sync::Arc;

use ingle_types::account::{Account, Credential, StorageAccount};

use super::Reported;
use super::properties::Properties;

mod connection_string;
mod identity;

const KEY: &str = "connection";
/// The connection of a binding that names none.
const USUAL: &str = "AzureWebJobsStorage";
const EMBEDDED: &str = "embedded";
/// Set to `embedded`, it keeps every binding in the embedded store: an app that is written for the cloud runs offline.
const OVERRIDE: &str = "INGLE_STORAGE";

/// The service of an account that a binding uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Service {
    Queues,
    Blobs,
    Tables,
}

impl Service {
    fn word(self) -> &'static str {
        match self {
            Self::Queues => "queue",
            Self::Blobs => "blob",
            Self::Tables => "table",
        }
    }

    fn address(self, account: &StorageAccount) -> Option<&String> {
        match self {
            Self::Queues => account.queues.as_ref(),
            Self::Blobs => account.blobs.as_ref(),
            Self::Tables => account.tables.as_ref(),
        }
    }
}

/// Reads the `connection` of a binding into its account.
pub(super) fn read(properties: &mut Properties<'_>, service: Service) -> Result<(), Reported> {
    let named = properties.text(KEY)?.filter(|name| !name.trim().is_empty());
    if properties.setting(OVERRIDE).is_some_and(|value| value.trim().eq_ignore_ascii_case(EMBEDDED)) {
        return Ok(());
    }
    let name = named.clone().unwrap_or_else(|| USUAL.to_owned());
    properties.account = match find(properties, &name) {
        Found::Embedded => Account::Embedded,
        Found::Missing => {
            if named.is_some() {
                properties.connection(&[KEY])?;
            }
            Account::Embedded
        }
        Found::Identity(setting) => {
            let account = identity::read(properties, &setting).map_err(|fault| {
                let message = format!("the connection {name} by identity can't be used: {fault}");
                let fix =
                    format!("set {name} to a connection string, or to `{EMBEDDED}` for the embedded store");
                properties.error("E0242", KEY, message, fix)
            })?;
            with_address(properties, service, account)?
        }
        Found::Text { setting, text } => account(properties, service, &setting, &text)?,
    };
    Ok(())
}

fn account(
    properties: &mut Properties<'_>,
    service: Service,
    setting: &str,
    text: &str,
) -> Result<Account, Reported> {
    let account = match connection_string::parse(setting, text) {
        Ok(account) => account,
        // The value is a secret, so only its name is told.
        Err(fault) => {
            let message = format!("the setting {setting} is no connection string: {fault}");
            let fix = format!(
                "copy it from the account's access keys, write UseDevelopmentStorage=true for Azurite, or leave {setting} empty for the embedded store"
            );
            return Err(properties.error("E0241", KEY, message, fix));
        }
    };
    with_address(properties, service, account)
}

/// The account, if it has the service that the binding needs.
fn with_address(
    properties: &mut Properties<'_>,
    service: Service,
    account: StorageAccount,
) -> Result<Account, Reported> {
    if service.address(&account).is_none() {
        let (word, setting) = (service.word(), &account.connection);
        let message = format!("the setting {setting} has no address for {word}s");
        let fix = match account.credential {
            Credential::Identity(_) => format!("set {setting}__{word}ServiceUri, or {setting}__accountName"),
            _ => format!("add {}Endpoint=https://… to it", capital(word)),
        };
        return Err(properties.error("E0241", KEY, message, fix));
    }
    Ok(Account::Remote(Arc::new(account)))
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

enum Found {
    Missing,
    Embedded,
    /// By identity; the setting that says so.
    Identity(String),
    Text {
        setting: String,
        text: String,
    },
}

fn find(properties: &Properties<'_>, name: &str) -> Found {
    let mut is_set = false;
    for setting in [format!("AzureWebJobs{name}"), name.to_owned(), format!("ConnectionStrings:{name}")] {
        let Some(text) = properties.raw_setting(&setting) else { continue };
        is_set = true;
        match text.trim() {
            "" => {}
            word if word.eq_ignore_ascii_case(EMBEDDED) => return Found::Embedded,
            text => return Found::Text { text: text.to_owned(), setting },
        }
    }
    match properties.section_of(name) {
        Some(setting) => Found::Identity(setting),
        None if is_set => Found::Embedded,
        None => Found::Missing,
    }
}
