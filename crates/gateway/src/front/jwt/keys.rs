//! The keys that an issuer publishes (OpenID Connect Discovery 1.0, RFC 7517).
//!
//! They are asked for when the first token comes, kept for two hours, and asked for anew when a token names one that is not known,
//! but never more often than each ten seconds. Only whoever needs a key that is not there waits for the issuer: anybody can
//! make up the name of one.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ingle_tasks::{Detach, TaskKind, Tasks};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde_json::Value;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;

use super::token::{Algorithm, Token};

const KEPT: Duration = Duration::from_secs(2 * 60 * 60);
const PAUSE: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(5);
const BYTES_MAX: usize = 1 << 20;
const KEYS_MAX: usize = 200;
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// A key of the issuer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Key {
    id: Option<String>,
    /// The only one that it is for, if it says so.
    algorithm: Option<Algorithm>,
    kind: Kind,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Kind {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// A point of P-256, not compressed.
    Point(Vec<u8>),
}

/// The keys of one issuer.
pub(super) struct Keys(Arc<Inner>);

struct Inner {
    issuer: String,
    /// Never held while somebody waits.
    known: std::sync::Mutex<Known>,
    /// When the issuer was asked last. Held by the one who asks.
    tried: Arc<Mutex<Option<Instant>>>,
}

#[derive(Clone, Default)]
struct Known {
    keys: Arc<Vec<Key>>,
    got: Option<Instant>,
}

impl Known {
    /// What was got too long ago is not known any more.
    fn is_fresh(&self) -> bool {
        self.got.is_some_and(|got| got.elapsed() < KEPT)
    }

    fn find(&self, token: &Token) -> Option<Key> {
        self.is_fresh().then(|| named(&self.keys, token)).flatten()
    }
}

impl Keys {
    pub(super) fn new(issuer: &str) -> Self {
        let issuer = issuer.trim_end_matches('/').to_owned();
        Self(Arc::new(Inner { issuer, known: std::sync::Mutex::default(), tried: Arc::default() }))
    }

    /// The key that a token names.
    ///
    /// # Errors
    /// There is none, or the issuer could not be asked; in a few words, which callers may read.
    pub(super) async fn find(&self, token: &Token, tasks: &Tasks) -> Result<Key, &'static str> {
        if let Some(key) = self.0.known().find(token) {
            return Ok(key);
        }
        let tried = self.0.tried.clone().lock_owned().await;
        // Whoever asked until now may have got it.
        let known = self.0.known();
        if let Some(key) = known.find(token) {
            return Ok(key);
        }
        let may_try = tried.is_none_or(|tried| tried.elapsed() >= PAUSE);
        let known = if may_try {
            // Also if this caller leaves: others wait for the answer.
            let asked = self.0.clone().asked(tried);
            Detach::new(tasks.clone(), TaskKind::Connection, asked).await.unwrap_or(known)
        } else {
            known
        };
        match known.find(token) {
            Some(key) => Ok(key),
            None if known.is_fresh() => Err("the issuer has no key of this name"),
            None => Err("the keys of the issuer are not known"),
        }
    }
}

impl Inner {
    fn known(&self) -> Known {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn asked(self: Arc<Self>, mut tried: OwnedMutexGuard<Option<Instant>>) -> Option<Known> {
        *tried = Some(Instant::now());
        match fetch(&self.issuer).await {
            Ok(keys) => {
                let known = Known { keys: Arc::new(keys), got: Some(Instant::now()) };
                *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known.clone();
                Some(known)
            }
            Err(what) => {
                let issuer = &self.issuer;
                tracing::warn!(code = "E0513", "the keys of {issuer} can't be got: {what}");
                None
            }
        }
    }
}

/// A token that names none has been signed with the only one that there is.
fn named(keys: &[Key], token: &Token) -> Option<Key> {
    let fits = |key: &&Key| key.fits(token.algorithm);
    match &token.key {
        Some(name) => keys.iter().find(|key| key.id.as_ref() == Some(name) && fits(key)).cloned(),
        None => match keys {
            [only] => Some(only).filter(fits).cloned(),
            _ => None,
        },
    }
}

impl Key {
    /// `None` for one that signs nothing that is taken here.
    fn read(said: &Value) -> Option<Self> {
        let text = |key: &str| said.get(key).and_then(Value::as_str);
        let bytes = |key: &str| URL_SAFE_NO_PAD.decode(text(key)?).ok().filter(|bytes| !bytes.is_empty());
        if text("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let algorithm = match text("alg") {
            Some(name) => Some(Algorithm::parse(name)?),
            None => None,
        };
        let kind = match (text("kty")?, text("crv")) {
            ("RSA", _) => Kind::Rsa { modulus: number(bytes("n")?), exponent: number(bytes("e")?) },
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes("x")?, bytes("y")?);
                Kind::Point([&[4][..], &x, &y].concat())
            }
            _ => return None,
        };
        Some(Self { id: text("kid").map(str::to_owned), algorithm, kind })
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        let is_point = matches!(self.kind, Kind::Point(_));
        self.algorithm.is_none_or(|own| own == algorithm) && is_point == (algorithm == Algorithm::Es256)
    }

    /// Whether this key has signed the token.
    pub(super) fn verifies(&self, token: &Token) -> bool {
        let (signed, signature) = (token.signed.as_bytes(), token.signature.as_slice());
        match (&self.kind, token.algorithm) {
            (Kind::Point(point), Algorithm::Es256) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature).is_ok()
            }
            (Kind::Rsa { modulus, exponent }, algorithm) => {
                let rules = match algorithm {
                    Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
                    Algorithm::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
                    Algorithm::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
                    Algorithm::Es256 => return false,
                };
                RsaPublicKeyComponents { n: modulus, e: exponent }.verify(rules, signed, signature).is_ok()
            }
            (Kind::Point(_), _) => false,
        }
    }
}

/// Without zeros in front, which some write.
fn number(bytes: Vec<u8>) -> Vec<u8> {
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}

async fn fetch(issuer: &str) -> Result<Vec<Key>, String> {
    // Connections of the server itself; what apps may reach does not concern them.
    rustls::crypto::ring::default_provider().install_default().ok();
    let builder = reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none());
    // A proxy of the environment is for the world outside, which nobody trusts without encryption.
    let builder = if issuer.starts_with("http://") { builder.no_proxy() } else { builder };
    let client = builder.build().map_err(|error| chain(&error))?;
    let about = document(&client, &format!("{issuer}{DISCOVERY}")).await?;
    let place = about.get("jwks_uri").and_then(Value::as_str).ok_or("its configuration has no jwks_uri")?;
    if !["https://", "http://"].iter().any(|scheme| place.starts_with(scheme)) {
        return Err("the jwks_uri of its configuration is no URL".to_owned());
    }
    let listed = document(&client, place).await?;
    let listed = listed.get("keys").and_then(Value::as_array).ok_or("its list of keys has no keys")?;
    Ok(listed.iter().take(KEYS_MAX).filter_map(Key::read).collect())
}

async fn document(client: &reqwest::Client, place: &str) -> Result<Value, String> {
    let failed = |error: reqwest::Error| chain(&error);
    let mut response = client.get(place).send().await.map_err(failed)?;
    if !response.status().is_success() {
        return Err(format!("{place} answers with {}", response.status().as_u16()));
    }
    let mut whole = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(failed)? {
        if whole.len() + piece.len() > BYTES_MAX {
            return Err(format!("{place} has more than {} MiB", BYTES_MAX >> 20));
        }
        whole.extend_from_slice(&piece);
    }
    serde_json::from_slice(&whole).map_err(|error| format!("{place} has no JSON: {error}"))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
    use serde_json::json;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn pair() -> (EcdsaKeyPair, SystemRandom) {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
        (pair, random)
    }

    fn published(pair: &EcdsaKeyPair, name: &str) -> Value {
        let point = pair.public_key().as_ref();
        let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        json!({"kty": "EC", "crv": "P-256", "kid": name, "use": "sig", "x": part(1..33), "y": part(33..65)})
    }

    fn signed(pair: &EcdsaKeyPair, random: &SystemRandom, name: Option<&str>) -> Token {
        let mut header = json!({"alg": "ES256"});
        if let Some(name) = name {
            header["kid"] = name.into();
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&header), part(&json!({"sub": "ada"})));
        let signature = pair.sign(random, text.as_bytes()).unwrap();
        Token::parse(&format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))).unwrap()
    }

    /// An issuer whose key `a` was got just now.
    fn known(issuer: &str, pair: &EcdsaKeyPair) -> Keys {
        let keys = Keys::new(issuer);
        let got = vec![Key::read(&published(pair, "a")).unwrap()];
        *keys.0.known.lock().unwrap() = Known { keys: Arc::new(got), got: Some(Instant::now()) };
        keys
    }

    /// T-042: a name that is made up makes nobody else wait for a slow issuer.
    #[tokio::test]
    async fn who_shows_a_known_key_waits_for_nobody() {
        // Takes connections, and never answers.
        let issuer = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (pair, random) = pair();
        let keys = known(&format!("http://{}", issuer.local_addr().unwrap()), &pair);
        let (forged, good) = (signed(&pair, &random, Some("x")), signed(&pair, &random, Some("a")));
        let tasks = Tasks::new();
        tokio::select! {
            biased;
            found = keys.find(&forged, &tasks) => panic!("the issuer has answered: {found:?}"),
            found = keys.find(&good, &tasks) => assert!(found.unwrap().verifies(&good)),
        }
    }

    #[tokio::test]
    async fn who_leaves_takes_nobody_s_answer_along() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let (pair, random) = pair();
        let (forged, good) = (signed(&pair, &random, Some("x")), signed(&pair, &random, Some("a")));
        let (keys, tasks) = (Keys::new(&issuer), Tasks::new());
        tokio::select! {
            biased;
            found = keys.find(&forged, &tasks) => panic!("the issuer has answered: {found:?}"),
            () = std::future::ready(()) => {}
        }
        let listed = json!({"keys": [published(&pair, "a")]});
        let answers = [json!({"jwks_uri": format!("{issuer}/keys")}), listed];
        let answering = async {
            for answer in answers.iter().map(Value::to_string) {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    stream.read_buf(&mut asked).await.unwrap();
                }
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    answer.len()
                );
                stream.write_all(format!("{head}{answer}").as_bytes()).await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            found = keys.find(&good, &tasks) => assert!(found.unwrap().verifies(&good)),
            () = answering => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_good_for_two_hours() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (pair, random) = pair();
        let keys = known(&format!("http://{nobody}"), &pair);
        let tasks = Tasks::new();
        let (good, other) = (signed(&pair, &random, Some("a")), signed(&pair, &random, Some("b")));
        tokio::time::advance(KEPT / 2).await;
        assert!(keys.find(&good, &tasks).await.is_ok());
        assert_eq!(keys.find(&other, &tasks).await, Err("the issuer has no key of this name"));
        assert!(keys.find(&good, &tasks).await.is_ok(), "a failed try takes nothing away");
        tokio::time::advance(KEPT / 2).await;
        assert_eq!(keys.find(&good, &tasks).await, Err("the keys of the issuer are not known"));
    }

    #[test]
    fn only_the_key_that_signed_verifies() {
        let ((ours, random), (other, _)) = (pair(), pair());
        let keys: Vec<Key> =
            [published(&other, "b"), published(&ours, "a")].iter().filter_map(Key::read).collect();
        let mut token = signed(&ours, &random, Some("a"));
        assert!(named(&keys, &token).unwrap().verifies(&token));
        assert!(!keys[0].verifies(&token));
        assert!(named(&keys, &signed(&ours, &random, Some("c"))).is_none());
        assert!(named(&keys, &signed(&ours, &random, None)).is_none(), "it could be any");
        assert!(named(&keys[1..], &signed(&ours, &random, None)).is_some());
        token.signed.push('x');
        assert!(!keys[1].verifies(&token));
        token.algorithm = Algorithm::Rs256;
        assert!(named(&keys, &token).is_none() && !keys[1].verifies(&token), "a key is of one kind");
    }

    #[test]
    fn keys_for_other_purposes_are_left_out() {
        let (pair, _) = pair();
        let with = |name: &str, value: Value| {
            let mut said = published(&pair, "a");
            said[name] = value;
            Key::read(&said)
        };
        assert!(with("alg", json!("ES256")).is_some());
        for (name, value) in [
            ("use", json!("enc")),
            ("alg", json!("HS256")),
            ("kty", json!("oct")),
            ("crv", json!("P-384")),
            ("x", json!("?")),
        ] {
            assert_eq!(with(name, value.clone()), None, "{name} {value}");
        }
        let rsa = Key::read(&json!({"kty": "RSA", "n": "AAEC", "e": "AQAB"})).unwrap();
        assert_eq!(rsa.kind, Kind::Rsa { modulus: vec![1, 2], exponent: vec![1, 0, 1] });
    }
}
