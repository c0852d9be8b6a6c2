//! Values of settings that are secrets, out of everything that the server writes about an app (T-050): the lines of its
//! functions, their failures, what their import has to say.
//!
//! A value is one by the name of its setting (`DB_PASSWORD`, `StripeApiKey`), or by its form, whatever the name is: the
//! key in a connection string, the password in an address, a signature, a private key. It is found as it stands, as an
//! address has it (`%2B`), and as Python and JSON show it. What a function makes of it otherwise, such as base64 or a part
//! of it, is not recognised.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::MASKED;
use crate::log::{LogLine, LogSink, LogSinkHandle};
use crate::outcome::Failure;
use crate::problem::Problem;

/// What is shorter stands in too many texts by chance, and is no secret that keeps anybody away.
const BYTES_MIN: usize = 6;
/// Of one line of a value that has several: a log has each by itself.
const LINE_BYTES_MIN: usize = 16;

/// What everybody knows: the emulator's account.
const KNOWN_TO_ALL: [&str; 2] = [
    "UseDevelopmentStorage=true",
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
];

/// The words in names of settings whose values are secrets, at any place …
const SECRET_WORDS: [&str; 13] = [
    "secret",
    "secrets",
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "token",
    "credential",
    "credentials",
    "apikey",
    "sas",
    "dsn",
    "connectionstring",
];
/// … and at the end only.
const LAST_SECRET_WORDS: [&str; 3] = ["key", "pass", "keys"];
/// Before `key`: names of fields, and keys that are public.
const NO_SECRET_KEYS: [&str; 7] = ["public", "partition", "row", "sort", "foreign", "object", "cache"];
/// What is at the end then is something about a secret, and not the secret.
const ABOUT_SECRETS: [&str; 39] = [
    "url",
    "uri",
    "endpoint",
    "host",
    "port",
    "name",
    "names",
    "id",
    "path",
    "file",
    "folder",
    "domain",
    "region",
    "provider",
    "bucket",
    "table",
    "expiry",
    "ttl",
    "seconds",
    "minutes",
    "timeout",
    "age",
    "enabled",
    "mode",
    "type",
    "version",
    "algorithm",
    "prefix",
    "suffix",
    "scope",
    "issuer",
    "audience",
    "header",
    "length",
    "limit",
    "max",
    "min",
    "count",
    "size",
];

/// Variables that a shell or a runtime sets: the folder that is current, and the one before.
const FOLDERS: [&str; 2] = ["PWD", "OLDPWD"];

/// Fields of connection strings and queries whose values are secrets, in lower case and without spaces.
const SECRET_FIELDS: [&str; 16] = [
    "accountkey",
    "sharedaccesskey",
    "sharedaccesssignature",
    "accesskey",
    "secretaccesskey",
    "apikey",
    "api_key",
    "key",
    "clientsecret",
    "secret",
    "password",
    "pwd",
    "token",
    "access_token",
    "sig",
    "code",
];

/// The secrets of one app. Cheap to clone.
#[derive(Clone, Default)]
pub struct Secrets(Arc<Values>);

#[derive(Default)]
struct Values {
    /// The longest first, so that of two that begin alike the whole of the longer one goes.
    values: Vec<String>,
    /// Whether a value begins with this byte.
    begins: Vec<bool>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Secrets({} values)", self.0.values.len())
    }
}

impl Secrets {
    /// Those among the settings of an app, given as name and value.
    pub fn of<'a>(settings: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut found = BTreeSet::new();
        for (name, value) in settings {
            if is_secret_name(name) {
                add(&mut found, value);
            }
            secret_parts(value, &mut found);
        }
        let mut values: Vec<String> = found.into_iter().collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        let mut begins = vec![false; 256];
        for first in values.iter().filter_map(|value| value.bytes().next()) {
            begins[usize::from(first)] = true;
        }
        Self(Arc::new(Values { values, begins }))
    }

    /// The text with each of them replaced by `***`. Text without one is not copied.
    pub fn hide<'text>(&self, text: &'text str) -> Cow<'text, str> {
        let mut shown = String::new();
        let mut done = 0;
        while let Some((from, to)) = self.next(text, done) {
            shown.push_str(&text[done..from]);
            shown.push_str(MASKED);
            done = to;
        }
        if done == 0 {
            return Cow::Borrowed(text);
        }
        shown.push_str(&text[done..]);
        Cow::Owned(shown)
    }

    /// Where the next one begins and ends. It begins with the first byte of a character and ends behind a last one.
    fn next(&self, text: &str, start: usize) -> Option<(usize, usize)> {
        let Values { values, begins } = &*self.0;
        let bytes = text.as_bytes();
        if values.is_empty() {
            return None;
        }
        (start..bytes.len()).filter(|at| begins[usize::from(bytes[*at])]).find_map(|at| {
            let value = values.iter().find(|value| bytes[at..].starts_with(value.as_bytes()))?;
            Some((at, at + value.len()))
        })
    }

    /// As [`Self::hide`], in place.
    pub fn hide_in(&self, text: &mut String) {
        if let Cow::Owned(hidden) = self.hide(text) {
            *text = hidden;
        }
    }

    /// As [`Self::hide`], in all that is told of a failure.
    pub fn hide_in_failure(&self, failure: &mut Failure) {
        self.hide_in(&mut failure.message);
        self.hide_in(&mut failure.traceback);
        failure.hint.iter_mut().for_each(|hint| self.hide_in(hint));
    }

    /// As [`Self::hide`], in all that an import has to say.
    pub fn hide_in_problem(&self, problem: &mut Problem) {
        self.hide_in(&mut problem.message);
        problem.fix.iter_mut().chain(&mut problem.detail).for_each(|text| self.hide_in(text));
    }

    /// A sink in front of another one, which gets lines without them.
    pub fn lines(&self, behind: LogSinkHandle) -> LogSinkHandle {
        Arc::new(Lines { secrets: self.clone(), behind })
    }
}

struct Lines {
    secrets: Secrets,
    behind: LogSinkHandle,
}

impl LogSink for Lines {
    fn line(&self, mut line: LogLine) {
        self.secrets.hide_in(&mut line.message);
        line.text.iter_mut().for_each(|text| self.secrets.hide_in(text));
        self.behind.line(line);
    }
}

fn is_secret_name(name: &str) -> bool {
    let words = words(name);
    let Some(last) = words.last() else { return false };
    if FOLDERS.contains(&name) || ABOUT_SECRETS.contains(&last.as_str()) {
        return false;
    }
    let before_last = words.len().checked_sub(2).and_then(|place| words.get(place)).map(String::as_str);
    if words.windows(2).any(|pair| pair == ["connection", "string"]) {
        return true;
    }
    if LAST_SECRET_WORDS.contains(&last.as_str()) {
        return before_last.is_none_or(|before| !NO_SECRET_KEYS.contains(&before));
    }
    words.iter().any(|word| SECRET_WORDS.contains(&word.as_str()))
}

/// `DB_PASSWORD` and `dbPassword` have the words `db` and `password`.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before = None;
    for letter in name.chars() {
        let begins = match before {
            None => true,
            Some(before) if letter.is_uppercase() => !char::is_uppercase(before),
            Some(_) => false,
        };
        if !letter.is_alphanumeric() {
            before = None;
            continue;
        }
        if begins {
            words.push(String::new());
        }
        words.iter_mut().last().into_iter().for_each(|word| word.extend(letter.to_lowercase()));
        before = Some(letter);
    }
    words
}

/// Of a value that is a connection string, an address or a private key: what of it is a secret.
fn secret_parts(value: &str, found: &mut BTreeSet<String>) {
    if value.contains("PRIVATE KEY-----") {
        add(found, value);
    }
    if let Some((_, rest)) = value.split_once("://") {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        // A password may have an `@` in it, a host may not.
        let password = authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':'));
        password.into_iter().for_each(|(_, password)| add(found, password));
    }
    // Connection strings have blanks in their values, what libpq takes has them between its fields.
    let between: &[char] = if value.contains(';') { &[';'] } else { &['&', '?', ' '] };
    for field in value.split(between) {
        let Some((name, value)) = field.split_once('=') else { continue };
        let name: String = name.trim().to_ascii_lowercase().replace(' ', "");
        if SECRET_FIELDS.contains(&name.as_str()) {
            add(found, value.trim());
        }
    }
}

/// The value in each form in which it may be shown.
fn add(found: &mut BTreeSet<String>, value: &str) {
    let value = value.trim();
    if KNOWN_TO_ALL.contains(&value) || value.len() < BYTES_MIN {
        return;
    }
    let decoded = percent_decoded(value);
    for value in [Some(value.to_owned()), decoded].into_iter().flatten() {
        found.insert(percent_encoded(&value));
        found.insert(percent_encoded(&value).replace("%20", "+"));
        found.insert(escaped(&value, &['"', '\\']));
        found.insert(escaped(&value, &['\'', '\\']));
        let lines = value.lines().filter(|line| line.len() >= LINE_BYTES_MIN);
        // That a key begins or ends is no secret.
        found.extend(lines.filter(|line| !line.starts_with("-----")).map(str::to_owned));
        found.insert(value);
    }
}

fn escaped(text: &str, letters: &[char]) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            letter if letters.contains(&letter) => escaped.extend(['\\', letter]),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// As in an address: all but what needs no sign there (RFC 3986, section 2.3).
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

/// `None` if nothing is encoded, or it is no text.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let digits =
            behind.get(..2).filter(|_| *first == b'%').and_then(|digits| str::from_utf8(digits).ok());
        if let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            bytes.push(byte);
            rest = &behind[2..];
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    String::from_utf8(bytes).ok().filter(|decoded| decoded != text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(settings: &[(&str, &str)], text: &str, expected: &str) {
        assert_eq!(Secrets::of(settings.iter().copied()).hide(text), expected, "{settings:?}");
    }

    #[test]
    fn t_050_names_tell_which_settings_are_secrets() {
        for name in [
            "DB_PASSWORD",
            "DB_PWD",
            "dbPassword",
            "StripeApiKey",
            "STRIPE_API_KEY",
            "KEY",
            "AWS_SECRET_ACCESS_KEY",
            "GITHUB_TOKEN",
            "ServiceBusConnectionString",
            "SERVICE_BUS_CONNECTION_STRING",
            "SqlConnectionString:Main",
            "SENTRY_DSN",
            "client-secret",
            "SMTP_PASS",
            "storage.sas",
        ] {
            check(&[(name, "canary-value")], "it is canary-value.", "it is ***.");
        }
        for name in [
            "PARTITION_KEY",
            "AWS_ACCESS_KEY_ID",
            "TOKEN_URL",
            "TokenExpiry",
            "PWD",
            "OLDPWD",
            "MAX_TOKEN_COUNT",
            "TOKEN_LIMIT",
            "PUBLIC_KEY",
            "MONKEY",
            "KEYBOARD",
            "GREETING",
            "SECRET_NAME",
            "WEBSITE_AUTH",
            "passenger",
        ] {
            check(&[(name, "canary-value")], "it is canary-value.", "it is canary-value.");
        }
    }

    #[test]
    fn t_050_forms_tell_which_parts_of_a_value_are() {
        let storage = "DefaultEndpointsProtocol=https;AccountName=shop;AccountKey=abc/def+ghi==;EndpointSuffix=core.windows.net";
        check(&[("STORAGE", storage)], storage, &storage.replace("abc/def+ghi==", "***"));
        check(&[("STORAGE", storage)], "?k=abc%2Fdef%2Bghi%3D%3D&x", "?k=***&x");
        let database = "postgresql://app:s3cr%40t-word@db:5432/shop";
        check(&[("DB", database)], database, "postgresql://app:***@db:5432/shop");
        check(&[("DB", database)], "wrong password: s3cr@t-word", "wrong password: ***");
        let server = "Server=db;User Id=app;Password=one two three;";
        check(&[("SQL", server)], "login failed with 'one two three'", "login failed with '***'");
        check(&[("SQL", "Server=db;Pwd=onetwothree;")], "with 'onetwothree'", "with '***'");
        check(&[("DSN_OF_PG", "host=db user=app password=onetwothree")], "with 'onetwothree'", "with '***'");
        let signed = "https://shop.blob.core.windows.net/c?sv=2024&sig=Zm9v%2FYmFy";
        check(&[("UPLOAD_URL", signed)], signed, &signed.replace("Zm9v%2FYmFy", "***"));
        check(&[("UPLOAD_URL", signed)], "sig Zm9v/YmFy", "sig ***");
        let key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\n-----END PRIVATE KEY-----";
        check(&[("PEM", key)], "line MIIEvQIBADANBgkqhkiG9w0B", "line ***");
        check(&[("PEM", key)], &format!("{key:?}"), "\"***\"");
    }

    #[test]
    fn t_050_forms_of_python_and_json_are_found() {
        check(&[("PASSWORD", "it's \"so\\ü\"")], r#"{'p': 'it\'s "so\\ü"'}"#, "{'p': '***'}");
        check(&[("PASSWORD", "it's \"so\\ü\"")], r#"{"p": "it's \"so\\ü\""}"#, r#"{"p": "***"}"#);
        // The longer one as a whole.
        check(&[("A_KEY", "canary"), ("B_KEY", "canary-and-more")], "canary-and-more canary", "*** ***");
    }

    #[test]
    fn what_everybody_knows_or_is_short_is_shown() {
        let known = "UseDevelopmentStorage=true";
        check(&[("AzureWebJobsStorage", known), ("STORAGE_CONNECTION_STRING", known)], known, known);
        check(&[("KEY", "12345"), ("PASSWORD", "")], "12345 ", "12345 ");
        assert!(matches!(Secrets::default().hide("text"), Cow::Borrowed("text")));
        assert_eq!(format!("{:?}", Secrets::of([("KEY", "canary-value")])), "Secrets(1 values)");
    }

    proptest! {
        #[test]
        fn t_050_no_secret_stays_and_nothing_breaks(before in ".{0,20}", secret in "[ -~äß]{6,40}", rest in ".{0,20}") {
            let secrets = Secrets::of([("PASSWORD", secret.as_str())]);
            let secret = secret.trim();
            prop_assume!(secret.len() >= BYTES_MIN && !MASKED.contains(secret));
            let shown = secrets.hide(&format!("{before}{secret}{rest}")).into_owned();
            prop_assert!(!shown.contains(secret) || format!("{before}***{rest}").contains(secret), "{shown}");
        }
    }
}
