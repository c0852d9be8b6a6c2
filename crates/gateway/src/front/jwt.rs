//! Signed tokens (RFC 7519) in front of HTTP APIs: whose they are, whether they still hold, and what they allow.

mod keys;
mod token;

use http::request::Parts;
use ingle_types::front::{Authorizer, AuthorizerKind};
use ingle_types::ids::InvocationId;
use serde_json::{Map, Value, json};

use super::answer::Refusal;
use super::identity::Seen;
use crate::apis::{Format, Matched};
use crate::service::{Door, trace};
use keys::Keys;
use token::Token;

/// An authorizer for the tokens of one issuer.
pub(super) struct Tokens {
    authorizer: Authorizer,
    issuer: String,
    audiences: Vec<String>,
    keys: Keys,
}

impl Tokens {
    /// `None` for an authorizer that asks a function.
    pub(super) fn new(authorizer: &Authorizer) -> Option<Self> {
        let AuthorizerKind::Jwt { issuer, audiences } = &authorizer.kind else { return None };
        let (issuer, audiences) = (issuer.clone(), audiences.clone());
        let keys = Keys::new(&issuer);
        Some(Self { authorizer: authorizer.clone(), issuer, audiences, keys })
    }

    pub(super) fn is_of(&self, authorizer: &Authorizer) -> bool {
        self.authorizer == *authorizer
    }

    /// What the route's function is told of the caller, if it may come in. `wanted`: scopes of which the token must have one.
    pub(super) async fn admit(
        &self,
        door: &Door,
        head: &Parts,
        matched: &Matched,
        wanted: &[String],
    ) -> Result<Value, Refusal> {
        let id = InvocationId::random();
        let seen = Seen::of(head, matched, (id, &trace(head, id)), door.rooms.clock.now(), true);
        let found = seen.identity(&self.authorizer.sources);
        let Some(shown) = found.as_ref().and_then(|identity| identity.told.first()) else {
            return Err(Refusal::Token { is_known: false, challenge: "Bearer".to_owned() });
        };
        let scheme = shown.get(..7).filter(|start| start.eq_ignore_ascii_case("Bearer "));
        let text = scheme.and_then(|scheme| shown.get(scheme.len()..)).unwrap_or(shown).trim();
        let token = self.known(text, door).await.map_err(invalid)?;
        let scopes = allowed(&token.claims, wanted)?;
        let claims: Map<String, Value> =
            token.claims.iter().map(|(name, value)| (name.clone(), as_text(value).into())).collect();
        let told = json!({"claims": claims, "scopes": scopes});
        Ok(if matched.route.format == Format::Http2 { json!({"jwt": told}) } else { told })
    }

    /// A token of the issuer's that holds now.
    async fn known(&self, text: &str, door: &Door) -> Result<Token, &'static str> {
        let token = Token::parse(text)?;
        token.check(&self.issuer, &self.audiences, door.rooms.clock.now())?;
        // Whoever sends nonsense does not make us ask for keys: the signature comes last.
        let key = self.keys.find(&token, &door.rooms.tasks).await?;
        if key.verifies(&token) { Ok(token) } else { Err("the signature does not fit") }
    }
}

fn invalid(why: &'static str) -> Refusal {
    let challenge = format!("Bearer scope=\"\" error=\"invalid_token\" error_description=\"{why}\"");
    Refusal::Token { is_known: false, challenge }
}

/// The scopes of a token that its route wants; none if the route wants none.
fn allowed<'a>(claims: &Map<String, Value>, wanted: &'a [String]) -> Result<Option<Vec<&'a str>>, Refusal> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let has = token::scopes(claims);
    let allowed: Vec<&str> = wanted.iter().map(String::as_str).filter(|scope| has.contains(scope)).collect();
    if allowed.is_empty() {
        let scope = wanted.join(" ");
        let challenge = format!("Bearer scope=\"{scope}\" error=\"insufficient_scope\"");
        return Err(Refusal::Token { is_known: true, challenge });
    }
    Ok(Some(allowed))
}

/// Claims are texts in events: `1700000000`, `[admin user]`.
fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(as_text).collect::<Vec<_>>().join(" ")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_needs_one_of_the_scopes() {
        let claims = |scope: Value| json!({"scope": scope}).as_object().cloned().unwrap();
        let wanted = ["read".to_owned(), "write".to_owned()];
        assert_eq!(allowed(&claims(json!("a write")), &wanted), Ok(Some(vec!["write"])));
        assert_eq!(allowed(&claims(json!(["read", "write"])), &wanted), Ok(Some(vec!["read", "write"])));
        assert_eq!(allowed(&claims(json!("readwrite")), &[]), Ok(None));
        let refused = allowed(&claims(json!("readwrite")), &wanted);
        let challenge = "Bearer scope=\"read write\" error=\"insufficient_scope\"".to_owned();
        assert_eq!(refused, Err(Refusal::Token { is_known: true, challenge }));
    }

    #[test]
    fn claims_are_told_as_texts() {
        let told = |value: Value| as_text(&value);
        assert_eq!(told(json!(1_700_000_000)), "1700000000");
        assert_eq!(told(json!(["a", "b"])), "[a b]");
        assert_eq!((told(json!("x")), told(json!(true))), ("x".to_owned(), "true".to_owned()));
    }
}
