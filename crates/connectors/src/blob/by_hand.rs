//! One blob for a function that is called by hand: read at once, without notification and attempts.

use ingle_store::Store;
use ingle_types::datum::Datum;
use ingle_types::spec::{FunctionSpec, TriggerSpec};

use super::{Handed, hand_over, metadata, remote, uri};
use crate::account::Accounts;
use crate::account::fault::Fault;
use crate::error::Error;

/// A blob and what its trigger would have told of it.
pub struct ByHand {
    pub handed: Handed,
    pub metadata: Vec<(String, Datum)>,
}

/// Reads the blob at `container/name`, wherever the function's trigger looks for blobs; `None` if that is no path of
/// the trigger's or there is no such blob.
///
/// # Errors
/// [`Error::Input`] or [`Error::Account`].
pub async fn read(
    store: &Store,
    accounts: &Accounts,
    function: &FunctionSpec,
    path: &str,
) -> Result<Option<ByHand>, Error> {
    let TriggerSpec::Blob(trigger) = &function.trigger else { return Ok(None) };
    let Some((container, name)) = path.trim_start_matches('/').split_once('/') else { return Ok(None) };
    let Some(parts) = trigger.pattern.captures(name).filter(|_| container == trigger.container) else {
        return Ok(None);
    };
    let binding = || function.trigger_parameter.clone();
    let failed = |source| Error::Input { binding: binding(), source };
    let (mut known, handed) = match trigger.account.remote() {
        None => {
            let Some(object) = store.read_object(container, name).await.map_err(failed)? else {
                return Ok(None);
            };
            let known = metadata(&object.info, &uri(container, name));
            let handed = hand_over(store, object, trigger.data_type, trigger.as_file).await;
            (known, handed.map_err(failed)?)
        }
        Some(account) => {
            let fault = |fault: Fault| {
                let action = format!("blob {container}/{name} in {} can't be read", account.connection);
                Error::Account { binding: binding(), action, fault }
            };
            let client = accounts.client(account).map_err(fault)?;
            let Some(found) = remote::open(&client, container, name).await.map_err(fault)? else {
                return Ok(None);
            };
            let known = metadata(&found.info, &found.uri);
            let handed = found.hand_over(trigger.data_type, trigger.as_file).await;
            (known, handed.map_err(fault)?)
        }
    };
    for (part, value) in parts {
        if known.iter().all(|(taken, _)| taken != part) {
            known.push((part.to_owned(), Datum::Text(value.to_owned())));
        }
    }
    Ok(Some(ByHand { handed, metadata: known }))
}
