//! A token (RFC 7515, compact form) and what its claims must say (RFC 7519, and AWS's "Control access to HTTP APIs with JWT authorizers").

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// Signatures that are taken. None that is made with a secret, and never no signature at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Es256,
}

/// A token that can be read; nothing of it is believed yet.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) algorithm: Algorithm,
    /// Which of its issuer's keys has signed it.
    pub(super) key: Option<String>,
    pub(super) claims: Map<String, Value>,
    /// What is signed.
    pub(super) signed: String,
    pub(super) signature: Vec<u8>,
}

impl Algorithm {
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "ES256" => Self::Es256,
            _ => return None,
        })
    }
}

impl Token {
    /// # Errors
    /// It is no token, or of a kind that is not taken; in a few words, which callers may read.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let no_token = "the token has no three parts of base64 and JSON";
        let (signed, signature) = text.rsplit_once('.').ok_or(no_token)?;
        let (header, claims) = signed.split_once('.').ok_or(no_token)?;
        let object = |part: &str| -> Option<Map<String, Value>> {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
        };
        let (header, claims) = (object(header).ok_or(no_token)?, object(claims).ok_or(no_token)?);
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_no_base64| no_token)?;
        let text = |key: &str| header.get(key).and_then(Value::as_str);
        let algorithm = text("alg").and_then(Algorithm::parse);
        let algorithm = algorithm.ok_or("the token is not signed with RS256, RS384, RS512 or ES256")?;
        if header.contains_key("crit") {
            return Err("the token has an extension that is not known");
        }
        let key = text("kid").map(str::to_owned);
        Ok(Self { algorithm, key, claims, signed: signed.to_owned(), signature })
    }

    /// Whether it is the issuer's, for one of the audiences, and holds at this time.
    ///
    /// # Errors
    /// Why not, in a few words, which callers may read.
    pub(super) fn check(
        &self,
        issuer: &str,
        audiences: &[String],
        now: SystemTime,
    ) -> Result<(), &'static str> {
        let now = now.duration_since(UNIX_EPOCH).map_or(0.0, |age| age.as_secs_f64());
        let time = |key: &str| match self.claims.get(key) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or("a time of the token is no number"),
        };
        if self.claims.get("iss").and_then(Value::as_str) != Some(issuer) {
            return Err("the issuer of the token is another");
        }
        match time("exp")? {
            None => return Err("the token has no end"),
            Some(end) if now >= end => return Err("the token has expired"),
            Some(_) => {}
        }
        if time("nbf")?.is_some_and(|start| now < start) {
            return Err("the token does not hold yet");
        }
        if time("iat")?.is_some_and(|made| now < made) {
            return Err("the token was made in the future");
        }
        let is_wanted = |value: &Value| {
            value.as_str().is_some_and(|name| audiences.iter().any(|audience| audience == name))
        };
        let is_for_us = match (self.claims.get("aud"), self.claims.get("client_id")) {
            (Some(Value::Array(names)), _) => names.iter().any(is_wanted),
            (Some(name), _) => is_wanted(name),
            (None, Some(client)) => is_wanted(client),
            (None, None) => false,
        };
        if is_for_us { Ok(()) } else { Err("the audience of the token is another") }
    }
}

/// What a token allows: `scope` or `scp`, as a text with spaces or as a list.
pub(super) fn scopes(claims: &Map<String, Value>) -> Vec<&str> {
    match claims.get("scope").or_else(|| claims.get("scp")) {
        Some(Value::String(text)) => text.split_ascii_whitespace().collect(),
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn written(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2ln", part(header), part(claims))
    }

    #[test]
    fn only_signed_tokens_are_read() {
        let check = |header: Value, words: Option<&str>| {
            let found = Token::parse(&written(&header, &json!({})));
            match words {
                None => assert!(found.is_ok(), "{header}"),
                Some(words) => assert!(found.unwrap_err().contains(words), "{header}"),
            }
        };
        check(json!({"alg": "RS256", "kid": "a"}), None);
        check(json!({"alg": "ES256"}), None);
        for name in ["none", "None", "HS256", "HS512", "PS256", ""] {
            check(json!({"alg": name}), Some("not signed"));
        }
        check(json!({}), Some("not signed"));
        check(json!({"alg": "RS256", "crit": ["x"]}), Some("extension"));
        for text in ["", "a", "a.b", "..", "e30.e30.", "a.b.c.d", "eyJhIjo.e30.e30"] {
            assert!(Token::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn claims_have_to_be_ours_and_of_now() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        let check = |changes: Value, expected: Result<(), &str>| {
            let mut claims = json!({"iss": "https://id.test", "aud": "shop", "exp": 1001});
            for (name, value) in changes.as_object().unwrap() {
                if value.is_null() {
                    claims.as_object_mut().unwrap().remove(name);
                } else {
                    claims[name] = value.clone();
                }
            }
            let token = Token::parse(&written(&json!({"alg": "RS256"}), &claims)).unwrap();
            let found = token.check("https://id.test", &["other".to_owned(), "shop".to_owned()], now);
            assert_eq!(found, expected, "{changes}");
        };
        check(json!({}), Ok(()));
        check(json!({"aud": ["a", "shop"], "nbf": 1000, "iat": 1000.0}), Ok(()));
        check(json!({"aud": null, "client_id": "shop"}), Ok(()));
        check(json!({"aud": "a", "client_id": "shop"}), Err("the audience of the token is another"));
        check(json!({"aud": null}), Err("the audience of the token is another"));
        check(json!({"aud": [7]}), Err("the audience of the token is another"));
        check(json!({"iss": "https://id.test/"}), Err("the issuer of the token is another"));
        check(json!({"exp": 1000}), Err("the token has expired"));
        check(json!({"exp": null}), Err("the token has no end"));
        check(json!({"exp": "2000"}), Err("a time of the token is no number"));
        check(json!({"nbf": 1001}), Err("the token does not hold yet"));
        check(json!({"iat": 1001}), Err("the token was made in the future"));
    }

    proptest! {
        #[test]
        fn nonsense_is_no_token(text in "[A-Za-z0-9_.-]{0,60}") {
            prop_assert!(Token::parse(&text).is_err());
        }
    }
}
