//! Connections by managed identity: the settings of a section such as `Orders__accountName`, `Orders__queueServiceUri`
//! ("Connecting to host storage with an identity" in the documentation of Azure Functions).

use ingle_types::account::{Credential, Identity, Secret, StorageAccount, TokenEndpoint};

use super::super::properties::Properties;
use super::connection_string::address;

/// Reads the section that `setting` belongs to.
///
/// # Errors
/// What keeps it from being used.
pub(super) fn read(properties: &Properties<'_>, setting: &str) -> Result<StorageAccount, String> {
    let section = setting.split("__").next().unwrap_or_default();
    let get = |key: &str| {
        let value = properties.raw_setting(&format!("{section}__{key}"))?.trim();
        (!value.is_empty()).then(|| value.to_owned())
    };
    match get("credential") {
        None => {}
        Some(kind) if kind.eq_ignore_ascii_case("managedidentity") => {}
        Some(kind) => {
            return Err(format!("{section}__credential is `{kind}`, and only managedidentity is served"));
        }
    }
    if get("clientSecret").is_some() {
        return Err(format!("{section}__clientSecret asks for a service principal"));
    }
    let name = get("accountName");
    let uri = |service: &str| {
        let given =
            get(&format!("{service}ServiceUri")).or_else(|| get("serviceUri").filter(|_| name.is_none()));
        let made = || name.as_ref().map(|name| format!("https://{name}.{service}.core.windows.net"));
        let Some(found) = given.or_else(made) else { return Ok(None) };
        let found =
            address(&found).map_err(|_| format!("the address for {service}s is no https:// address"))?;
        // A token must not be read on its way.
        if !found.starts_with("https://") {
            return Err(format!("the address for {service}s is no https:// address"));
        }
        Ok(Some(found))
    };
    let service = |address: &str, header: &str| TokenEndpoint::Service {
        address: address.to_owned(),
        header: Secret::new(header),
    };
    let endpoint = match (properties.setting("IDENTITY_ENDPOINT"), properties.setting("IDENTITY_HEADER")) {
        (Some(address), Some(header)) => service(address, header),
        _ => TokenEndpoint::Machine,
    };
    Ok(StorageAccount {
        connection: section.to_owned(),
        queues: uri("queue")?,
        blobs: uri("blob")?,
        tables: uri("table")?,
        credential: Credential::Identity(Identity { endpoint, client_id: get("clientId") }),
    })
}
