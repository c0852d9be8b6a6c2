//! Tokens of a managed identity: asked for at the endpoint that the platform gives to this machine ("How to use managed
//! identities to acquire an access token" in Azure's documentation). The pipeline keeps each until it ends.

use std::time::Duration;

use azure_core::Error;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::time::OffsetDateTime;
use ingle_types::account::{Identity, TokenEndpoint};
use serde_json::Value;

/// What a token is for.
pub(super) const SCOPE: &str = "https://storage.azure.com/.default";
const RESOURCE: &str = "https://storage.azure.com";
const MACHINE: &str = "http://169.254.169.254/metadata/identity/oauth2/token";
const TIMEOUT: Duration = Duration::from_secs(10);

/// Asks for tokens.
#[derive(Debug)]
pub(super) struct IdentityCredential {
    identity: Identity,
    client: reqwest::Client,
}

impl IdentityCredential {
    /// The endpoint is on this machine or beside it, so no proxy leads to it.
    pub(super) fn new(identity: Identity) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?;
        Ok(Self { identity, client })
    }

    fn request(&self) -> reqwest::RequestBuilder {
        match &self.identity.endpoint {
            TokenEndpoint::Machine => {
                self.client.get(self.address(MACHINE, "2018-02-01")).header("metadata", "true")
            }
            TokenEndpoint::Service { address, header } => {
                let request = self.client.get(self.address(address, "2019-08-01"));
                request.header("x-identity-header", header.reveal())
            }
        }
    }

    fn address(&self, endpoint: &str, version: &str) -> String {
        let joint = if endpoint.contains('?') { '&' } else { '?' };
        let client =
            self.identity.client_id.as_ref().map_or_else(String::new, |id| format!("&client_id={id}"));
        format!("{endpoint}{joint}api-version={version}&resource={RESOURCE}{client}")
    }
}

#[async_trait::async_trait]
impl TokenCredential for IdentityCredential {
    async fn get_token(
        &self,
        _scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let refused = |reason: &str| {
            Error::with_message(
                ErrorKind::Credential,
                format!("the identity of this machine gives no token: {reason}"),
            )
        };
        let unreachable = |_| refused("its endpoint does not answer");
        let answer = self.request().send().await.map_err(unreachable)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(unreachable)?;
        if !status.is_success() {
            return Err(refused(&format!("it answers {}", status.as_u16())));
        }
        token(&body).ok_or_else(|| refused("the answer can't be read"))
    }
}

/// `{"access_token": "…", "expires_on": 1792908600}`, the time also as a text.
fn token(body: &[u8]) -> Option<AccessToken> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let expires = &body["expires_on"];
    let expires = expires.as_i64().or_else(|| expires.as_str()?.parse().ok())?;
    let expires = OffsetDateTime::from_unix_timestamp(expires).ok()?;
    Some(AccessToken::new(body["access_token"].as_str()?.to_owned(), expires))
}

#[cfg(test)]
mod tests {
    use ingle_types::account::Secret;

    use super::*;

    #[test]
    fn tokens_are_read_in_both_spellings() {
        let check = |body: &str, expected: Option<i64>| {
            let found = token(body.as_bytes()).map(|token| token.expires_on.unix_timestamp());
            assert_eq!(found, expected, "{body}");
        };
        check(r#"{"access_token": "t", "expires_on": 1792908600}"#, Some(1_792_908_600));
        check(r#"{"access_token": "t", "expires_on": "1792908600"}"#, Some(1_792_908_600));
        check(r#"{"access_token": "t"}"#, None);
        check(r#"{"expires_on": 5}"#, None);
        check("no JSON", None);
    }

    #[test]
    fn each_kind_of_machine_is_asked_in_its_way() {
        let request = |endpoint, client_id: Option<&str>| {
            let identity = Identity { endpoint, client_id: client_id.map(str::to_owned) };
            rustls::crypto::ring::default_provider().install_default().ok();
            IdentityCredential::new(identity).unwrap().request().build().unwrap()
        };
        let machine = request(TokenEndpoint::Machine, Some("c"));
        assert_eq!(
            machine.url().as_str(),
            "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://storage.azure.com&client_id=c"
        );
        assert_eq!(machine.headers()["metadata"], "true");
        let service =
            TokenEndpoint::Service { address: "http://127.0.0.1:4/msi".to_owned(), header: Secret::new("h") };
        let service = request(service, None);
        assert_eq!(service.url().query(), Some("api-version=2019-08-01&resource=https://storage.azure.com"));
        assert_eq!(service.headers()["x-identity-header"], "h");
    }
}
