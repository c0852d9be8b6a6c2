//! Signature version 4: a request is taken if it was signed with the project's credentials (AWS's "Create a signed AWS API
//! request").

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use http::StatusCode;
use http::request::Parts;
use sha2::{Digest as _, Sha256};

use super::Fault;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const CONTENT_HASH: &str = "x-amz-content-sha256";
/// Of SHA-256.
const DIGEST_BYTES: usize = 32;

/// What the clients in the functions of a project sign with.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub access_key: String,
    pub secret_key: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials")
    }
}

/// The `Authorization` header in its parts.
#[derive(Clone, Copy)]
struct Signed<'a> {
    access_key: &'a str,
    /// `20260112/us-east-1/s3/aws4_request`.
    scope: &'a str,
    headers: &'a str,
    signature: &'a str,
}

impl<'a> Signed<'a> {
    fn read(header: &'a str) -> Option<Self> {
        let rest = header.strip_prefix(ALGORITHM)?;
        let part =
            |name: &str| rest.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        let (access_key, scope) = part("Credential")?.split_once('/')?;
        Some(Self { access_key, scope, headers: part("SignedHeaders")?, signature: part("Signature")? })
    }
}

/// The service that a request says it is for.
pub(super) fn service(head: &Parts) -> Option<&str> {
    let header = head.headers.get("authorization")?.to_str().ok()?;
    Signed::read(header)?.scope.split('/').nth(2)
}

/// A request that says to be signed with the credentials, before its body is there.
pub(super) struct Claim<'a> {
    head: &'a Parts,
    signed: Signed<'a>,
    secret_key: &'a str,
    date: &'a str,
    /// What it says of its body: a digest, or that there is none to be had.
    said: Option<&'a str>,
}

impl<'a> Claim<'a> {
    /// If the request says what its body is, its signature has been checked, too.
    ///
    /// # Errors
    /// 403 as S3 and SQS have them.
    pub(super) fn read(head: &'a Parts, credentials: &'a Credentials) -> Result<Self, Fault> {
        let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let Some(signed) = Signed::read(header("authorization").unwrap_or_default()) else {
            let message = "the request is not signed; only functions of the project come in here";
            return Err(refused("MissingAuthenticationToken", message));
        };
        if signed.access_key != credentials.access_key {
            let message = "the access key is not that of this project";
            return Err(refused("InvalidAccessKeyId", message));
        }
        let Some(date) = header("x-amz-date") else {
            return Err(refused("IncompleteSignature", "the request has no x-amz-date"));
        };
        let said = header(CONTENT_HASH);
        let claim = Self { head, signed, secret_key: &credentials.secret_key, date, said };
        said.map(|said| claim.verify(said)).transpose()?;
        Ok(claim)
    }

    /// The service that the request is for.
    pub(super) fn service(&self) -> &str {
        self.signed.scope.split('/').nth(2).unwrap_or_default()
    }

    /// Whether [`Self::confirm`] has to see the digest of the body.
    pub(super) fn needs_digest(&self) -> bool {
        self.said.is_none_or(|said| unhex(said).is_some_and(|bytes| bytes.len() == DIGEST_BYTES))
    }

    /// `digest` is that of the body.
    ///
    /// # Errors
    /// 403, and 400 for a body that is not the one that was signed.
    pub(super) fn confirm(&self, digest: &str) -> Result<(), Fault> {
        match self.said {
            None => self.verify(digest),
            Some(said) if said.eq_ignore_ascii_case(digest) => Ok(()),
            Some(_) => {
                Err(Fault::bad("XAmzContentSHA256Mismatch", "the body is not the one that was signed"))
            }
        }
    }

    fn verify(&self, hash: &str) -> Result<(), Fault> {
        let Signed { scope, headers, signature, .. } = self.signed;
        let canonical = digest(canonical(self.head, headers, hash).as_bytes());
        let to_sign = format!("{ALGORITHM}\n{}\n{scope}\n{canonical}", self.date);
        let is_right =
            unhex(signature).zip(signer(self.secret_key, scope)).is_some_and(|(signature, mut signer)| {
                signer.update(to_sign.as_bytes());
                // In a time that says nothing about where they differ.
                signer.verify_slice(&signature).is_ok()
            });
        if is_right {
            return Ok(());
        }
        Err(refused(
            "SignatureDoesNotMatch",
            "the signature does not fit the request and the project's secret key",
        ))
    }
}

fn refused(code: &'static str, message: &str) -> Fault {
    Fault::new(StatusCode::FORBIDDEN, code, message)
}

/// SHA-256, in hexadecimal.
pub(super) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn canonical(head: &Parts, signed_headers: &str, hash: &str) -> String {
    let mut query: Vec<(&str, &str)> = head
        .uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    query.sort_unstable();
    let query: Vec<String> = query.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut headers = String::new();
    for name in signed_headers.split(';') {
        let values = head.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        let values: Vec<String> =
            values.map(|value| value.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        // Writing to a text can't fail.
        writeln!(headers, "{name}:{}", values.join(",")).ok();
    }
    let path = signed_path(head.uri.path(), service(head) == Some("s3"));
    format!("{}\n{path}\n{}\n{headers}\n{signed_headers}\n{hash}", head.method, query.join("&"))
}

/// Clients sign paths as they send them for S3, and encoded once more for all others.
fn signed_path(sent: &str, as_sent: bool) -> String {
    if as_sent {
        return sent.to_owned();
    }
    let mut path = String::with_capacity(sent.len());
    for byte in sent.bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => path.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => path.push(char::from(byte)),
            // Writing to a text can't fail.
            other => drop(write!(path, "%{other:02X}")),
        }
    }
    path
}

/// Signs with the key for this day, region and service.
fn signer(secret: &str, scope: &str) -> Option<Hmac<Sha256>> {
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in scope.split('/') {
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
        mac.update(part.as_bytes());
        key = mac.finalize().into_bytes().to_vec();
    }
    Hmac::<Sha256>::new_from_slice(&key).ok()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").ok();
    }
    text
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    pairs.map(|pair| u8::from_str_radix(pair.filter(|pair| pair.len() == 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    /// The example of AWS's documentation of S3: "GET Object".
    fn example(change: impl Fn(http::request::Builder) -> http::request::Builder) -> Parts {
        let authorization = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
             SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, \
             Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
        let request = Request::get("/test.txt")
            .header("host", "examplebucket.s3.amazonaws.com")
            .header("range", "bytes=0-9")
            .header(CONTENT_HASH, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
            .header("x-amz-date", "20130524T000000Z")
            .header("authorization", authorization);
        change(request).body(()).unwrap().into_parts().0
    }

    fn credentials() -> Credentials {
        Credentials {
            access_key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
        }
    }

    fn check(head: &Parts, body: &[u8], credentials: &Credentials) -> Result<String, Fault> {
        let claim = Claim::read(head, credentials)?;
        if claim.needs_digest() {
            claim.confirm(&digest(body))?;
        }
        Ok(claim.service().to_owned())
    }

    /// What is wrong with the head is found without the body.
    #[test]
    fn strangers_are_refused_before_their_body_is_there() {
        let other = Credentials { secret_key: "other".to_owned(), ..credentials() };
        let code = |head: &Parts, credentials: Credentials| {
            Claim::read(head, &credentials).map(drop).map_err(|fault| fault.code)
        };
        let signed = example(|request| request);
        assert_eq!(code(&signed, credentials()), Ok(()));
        assert_eq!(code(&signed, other.clone()), Err("SignatureDoesNotMatch"));
        let unsigned = Request::get("/").body(()).unwrap().into_parts().0;
        assert_eq!(code(&unsigned, other), Err("MissingAuthenticationToken"));
    }

    #[test]
    fn a_path_is_signed_as_its_service_wants_it() {
        assert_eq!(signed_path("/in/a%20b:c", true), "/in/a%20b:c");
        assert_eq!(signed_path("/f/arn%3Aaws:x/invocations", false), "/f/arn%253Aaws%3Ax/invocations");
    }

    #[test]
    fn the_documented_example_is_taken() {
        assert_eq!(check(&example(|request| request), b"", &credentials()), Ok("s3".to_owned()));
    }

    #[test]
    fn what_was_changed_or_signed_by_others_is_refused() {
        let refused = |head: &Parts, body: &[u8], credentials: &Credentials| {
            check(head, body, credentials).unwrap_err().code
        };
        let good = credentials();
        assert_eq!(
            refused(&example(|request| request.uri("/other.txt")), b"", &good),
            "SignatureDoesNotMatch"
        );
        assert_eq!(refused(&example(|request| request), b"more", &good), "XAmzContentSHA256Mismatch");
        let other = Credentials { secret_key: "other".to_owned(), ..good.clone() };
        assert_eq!(refused(&example(|request| request), b"", &other), "SignatureDoesNotMatch");
        let other = Credentials { access_key: "other".to_owned(), ..good.clone() };
        assert_eq!(refused(&example(|request| request), b"", &other), "InvalidAccessKeyId");
        let unsigned = Request::get("/").body(()).unwrap().into_parts().0;
        assert_eq!(refused(&unsigned, b"", &good), "MissingAuthenticationToken");
    }
}
