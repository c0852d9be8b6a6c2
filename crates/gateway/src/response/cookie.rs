//! The `cookies` of a returned object into values of `Set-Cookie`, in the order of attributes that Azure's host uses.

use std::fmt::Write;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ResponseFault;

const FAULT: ResponseFault = ResponseFault::Field {
    field: "cookies",
    expected: "a list of objects with `name`, `value` and attributes whose texts hold no `;`",
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Cookie {
    name: String,
    value: String,
    /// As HTTP writes dates.
    expires: Option<String>,
    /// In seconds.
    max_age: Option<f64>,
    domain: Option<String>,
    path: Option<String>,
    secure: Option<bool>,
    same_site: Option<String>,
    http_only: Option<bool>,
}

/// One text for each cookie.
pub(super) fn read(raw: &RawValue) -> Result<Vec<String>, ResponseFault> {
    let cookies: Vec<Cookie> = serde_json::from_str(raw.get()).map_err(|_| FAULT)?;
    cookies.iter().map(write).collect()
}

fn write(cookie: &Cookie) -> Result<String, ResponseFault> {
    let name_symbols = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if cookie.name.is_empty() || !cookie.name.bytes().all(name_symbols) {
        return Err(FAULT);
    }
    let mut text = format!("{}={}", cookie.name, encode(&cookie.value));
    attribute(&mut text, "expires", cookie.expires.as_deref())?;
    let max_age = cookie.max_age.filter(|seconds| seconds.is_finite()).map(|seconds| format!("{seconds:.0}"));
    attribute(&mut text, "max-age", max_age.as_deref())?;
    attribute(&mut text, "domain", cookie.domain.as_deref())?;
    attribute(&mut text, "path", cookie.path.as_deref())?;
    if cookie.secure == Some(true) {
        text.push_str("; secure");
    }
    let same_site = cookie.same_site.as_deref().map(str::to_ascii_lowercase);
    match same_site.as_deref() {
        None | Some("") => {}
        // `None` means "say nothing" to Azure's SDKs, `ExplicitNone` is the attribute.
        Some("none") => {}
        Some("explicitnone") => attribute(&mut text, "samesite", Some("none"))?,
        Some("lax" | "strict") => attribute(&mut text, "samesite", same_site.as_deref())?,
        Some(_) => return Err(FAULT),
    }
    if cookie.http_only == Some(true) {
        text.push_str("; httponly");
    }
    Ok(text)
}

/// Adds an attribute unless it is absent or empty.
fn attribute(text: &mut String, name: &str, value: Option<&str>) -> Result<(), ResponseFault> {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(()) };
    if value.contains(';') {
        return Err(FAULT);
    }
    text.push_str("; ");
    text.push_str(name);
    text.push('=');
    text.push_str(value);
    Ok(())
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
fn encode(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            let _infallible = write!(text, "%{byte:02X}").is_ok();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: Option<&str>) {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        let written = read(raw).ok().map(|cookies| cookies.join("|"));
        assert_eq!(written.as_deref(), expected, "{json}");
    }

    #[test]
    fn all_attributes_in_order() {
        check(
            r#"[{"name": "foo", "value": "bar; é", "httpOnly": true, "secure": true, "sameSite": "Lax", "path": "/",
                 "domain": "example.com", "maxAge": 10000000.0, "expires": "Thu, 12 Jan 2017 13:55:08 GMT"}]"#,
            Some(
                "foo=bar%3B%20%C3%A9; expires=Thu, 12 Jan 2017 13:55:08 GMT; max-age=10000000; domain=example.com; \
                 path=/; secure; samesite=lax; httponly",
            ),
        );
    }

    #[test]
    fn what_is_absent_is_left_out() {
        check("[]", Some(""));
        check(
            r#"[{"name": "a", "maxAge": 0, "secure": false, "domain": ""}, {"name": "b"}]"#,
            Some("a=; max-age=0|b="),
        );
        check(
            r#"[{"name": "a", "sameSite": "None"}, {"name": "b", "sameSite": "ExplicitNone"}]"#,
            Some("a=|b=; samesite=none"),
        );
    }

    #[test]
    fn nonsense_is_refused_t_046() {
        check(r#"[{"value": "x"}]"#, None);
        check(r#"[{"name": "a;b"}]"#, None);
        check(r#"[{"name": "a\r\nb"}]"#, None);
        check(r#"[{"name": "a", "path": "/; domain=evil"}]"#, None);
        check(r#"[{"name": "a", "sameSite": "often"}]"#, None);
        check(r#"{"name": "a"}"#, None);
    }
}
