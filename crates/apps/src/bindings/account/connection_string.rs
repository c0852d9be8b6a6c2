//! Connection strings of Azure Storage: `Name=value` pairs with `;` between them ("Configure Azure Storage connection
//! strings" in Azure's documentation).

use ingle_types::account::{Credential, Secret, StorageAccount};

/// Name and key of the account that every emulator has. Both are public; they open nothing else.
const EMULATED_NAME: &str = "devstoreaccount1";
const EMULATED_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// Where an emulator listens for blobs, queues and tables.
const EMULATED_PORTS: [u16; 3] = [10000, 10001, 10002];

/// Reads a connection string; `setting` is where it stands.
///
/// # Errors
/// What is wrong, without anything of the text itself: it is a secret.
pub(super) fn parse(setting: &str, text: &str) -> Result<StorageAccount, &'static str> {
    let pairs = pairs(text)?;
    let get = |name: &str| {
        let found = pairs.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| *value).filter(|value| !value.is_empty())
    };
    if get("UseDevelopmentStorage").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return emulated(setting, get("DevelopmentStorageProxyUri").unwrap_or("http://127.0.0.1"));
    }
    let credential = match (get("AccountName"), get("AccountKey"), get("SharedAccessSignature")) {
        (Some(account), Some(key), _) if is_base64(key) => {
            Credential::SharedKey { account: account.to_owned(), key: Secret::new(key) }
        }
        (Some(_), Some(_), _) => return Err("its AccountKey is no Base64"),
        (_, None, Some(signature)) => Credential::Signature(Secret::new(signature.trim_start_matches('?'))),
        (None, Some(_), _) => return Err("it has an AccountKey and no AccountName"),
        (_, None, None) => return Err("it has neither AccountKey nor SharedAccessSignature"),
    };
    let protocol = get("DefaultEndpointsProtocol").unwrap_or("https");
    if !["http", "https"].iter().any(|known| known.eq_ignore_ascii_case(protocol)) {
        return Err("its DefaultEndpointsProtocol is neither http nor https");
    }
    let suffix = get("EndpointSuffix").unwrap_or("core.windows.net");
    let address = |key: &str, service: &str| match (get(key), get("AccountName")) {
        (Some(given), _) => address(given).map(Some),
        (None, Some(name)) => {
            address(&format!("{}://{name}.{service}.{suffix}", protocol.to_lowercase())).map(Some)
        }
        (None, None) => Ok(None),
    };
    Ok(StorageAccount {
        connection: setting.to_owned(),
        queues: address("QueueEndpoint", "queue")?,
        blobs: address("BlobEndpoint", "blob")?,
        tables: address("TableEndpoint", "table")?,
        credential,
    })
}

fn pairs(text: &str) -> Result<Vec<(&str, &str)>, &'static str> {
    let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) =
                part.split_once('=').ok_or("it is not a list of Name=value with `;` between them")?;
            Ok((name.trim(), value.trim()))
        })
        .collect()
}

fn emulated(setting: &str, host: &str) -> Result<StorageAccount, &'static str> {
    let host = address(host)?;
    let [blobs, queues, tables] = EMULATED_PORTS.map(|port| format!("{host}:{port}/{EMULATED_NAME}"));
    Ok(StorageAccount {
        connection: setting.to_owned(),
        queues: Some(queues),
        blobs: Some(blobs),
        tables: Some(tables),
        credential: Credential::SharedKey {
            account: EMULATED_NAME.to_owned(),
            key: Secret::new(EMULATED_KEY),
        },
    })
}

/// An address without `/` at its end.
pub(super) fn address(text: &str) -> Result<String, &'static str> {
    const FAULT: &str = "one of its addresses is no http:// or https:// address";
    let text = text.trim_end_matches('/');
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or(FAULT)?;
    let host = rest.split('/').next().unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"?#@\"<>\\^`{|}%".contains(&byte);
    if host.is_empty() || host.starts_with(':') || !rest.bytes().all(plain) {
        return Err(FAULT);
    }
    Ok(text.to_owned())
}

fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    text.len().is_multiple_of(4)
        && text.len() - body.len() <= 2
        && !body.is_empty()
        && body.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `queues blobs tables` with the credential's kind, or what is wrong.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = match parse("S", text) {
            Ok(account) => {
                let shown = |address: &Option<String>| address.clone().unwrap_or_else(|| "-".to_owned());
                let kind = match &account.credential {
                    Credential::SharedKey { account, .. } => format!("key of {account}"),
                    Credential::Signature(signature) => format!("signature {}", signature.reveal()),
                    Credential::Identity(_) => "identity".to_owned(),
                };
                [shown(&account.queues), shown(&account.blobs), shown(&account.tables), kind].join(" ")
            }
            Err(fault) => fault.to_owned(),
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn accounts_by_key() {
        check(
            "DefaultEndpointsProtocol=https;AccountName=shop;AccountKey=a2V5;EndpointSuffix=core.windows.net",
            "https://shop.queue.core.windows.net https://shop.blob.core.windows.net https://shop.table.core.windows.net key of shop",
        );
        check(
            " accountname = shop ; accountkey = a2U= ; BlobEndpoint = http://127.0.0.1:10000/shop/ ; ",
            "https://shop.queue.core.windows.net http://127.0.0.1:10000/shop https://shop.table.core.windows.net key of shop",
        );
    }

    #[test]
    fn accounts_by_signature() {
        check(
            "BlobEndpoint=https://shop.blob.core.windows.net/;SharedAccessSignature=sv=2024&sig=a%2Bb%3D",
            "- https://shop.blob.core.windows.net - signature sv=2024&sig=a%2Bb%3D",
        );
    }

    #[test]
    fn emulators() {
        check(
            "UseDevelopmentStorage=true",
            "http://127.0.0.1:10001/devstoreaccount1 http://127.0.0.1:10000/devstoreaccount1 http://127.0.0.1:10002/devstoreaccount1 key of devstoreaccount1",
        );
        check(
            "UseDevelopmentStorage=True;DevelopmentStorageProxyUri=http://azurite",
            "http://azurite:10001/devstoreaccount1 http://azurite:10000/devstoreaccount1 http://azurite:10002/devstoreaccount1 key of devstoreaccount1",
        );
    }

    #[test]
    fn faults_are_named_without_the_text() {
        check("x", "it is not a list of Name=value with `;` between them");
        check("AccountName=shop", "it has neither AccountKey nor SharedAccessSignature");
        check("UseDevelopmentStorage=false", "it has neither AccountKey nor SharedAccessSignature");
        check("AccountKey=a2V5", "it has an AccountKey and no AccountName");
        check("AccountName=shop;AccountKey=not base64!", "its AccountKey is no Base64");
        check(
            "AccountName=s;AccountKey=a2V5;DefaultEndpointsProtocol=ftp",
            "its DefaultEndpointsProtocol is neither http nor https",
        );
        check(
            "AccountName=s;AccountKey=a2V5;QueueEndpoint=ftp://x",
            "one of its addresses is no http:// or https:// address",
        );
        check("AccountName=a b;AccountKey=a2V5", "one of its addresses is no http:// or https:// address");
    }

    proptest! {
        /// T-041: nothing of a key comes out, whatever is wrong.
        #[test]
        fn no_fault_shows_the_key(before in "[A-Za-z;= ]{0,20}", key in "[A-Za-z0-9+/]{24}", after in "\\PC{0,20}") {
            if let Err(fault) = parse("S", &format!("{before}AccountKey={key}{after}")) {
                prop_assert!(!fault.contains(&key));
            }
        }
    }
}
