//! Inline constraints of route templates: `{id:int:min(1)}`.
//!
//! The names and their meaning are those of ASP.NET Core's attribute routing, which Azure Functions uses for the
//! `route` of an HTTP trigger. A constraint only decides whether a route matches; it never changes the value.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use regex::{Regex, RegexBuilder};
use thiserror::Error;

/// Names of all constraints, for messages.
pub const NAMES: &str = "alpha, bool, datetime, decimal, double, float, guid, int, length, long, max, maxlength, min, minlength, \
     range, regex, required";

/// Largest magnitude of .NET's `decimal`: 2^96 - 1.
const DECIMAL_MAX: u128 = (1 << 96) - 1;

/// A compiled regular expression may take this much memory, so that a template can't exhaust the server's.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Why a constraint can't be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ConstraintError {
    #[error("unknown constraint `{0}`; known are {NAMES}")]
    Unknown(String),
    #[error("constraint `{name}` is written `{usage}`")]
    Arguments { name: &'static str, usage: &'static str },
    #[error("the range of constraint `{name}` is empty: {low} is more than {high}")]
    EmptyRange { name: &'static str, low: i64, high: i64 },
    #[error("the expression of constraint `regex` is not usable: {0}")]
    Regex(String),
}

/// One condition on the value of a route parameter.
#[derive(Clone, Debug)]
pub enum Constraint {
    Alpha,
    Bool,
    DateTime,
    Decimal,
    /// `double` and `float`: both mean a number with or without exponent.
    Double,
    Guid,
    /// A 32-bit integer.
    Int,
    /// A 64-bit integer.
    Long,
    /// Length in UTF-16 units, as .NET counts; both ends belong to it.
    Length {
        low: u64,
        high: u64,
    },
    /// A 64-bit integer; both ends belong to it.
    Range {
        low: i64,
        high: i64,
    },
    /// Searched anywhere in the value, without regard to case.
    Regex(Box<Regex>),
    Required,
}

impl Constraint {
    /// Reads `name` or `name(arguments)`. Names are compared without regard to case.
    ///
    /// # Errors
    /// The name is unknown, or the arguments don't fit it.
    pub fn parse(text: &str) -> Result<Self, ConstraintError> {
        let (name, arguments) = split_call(text);
        match (name.to_ascii_lowercase().as_str(), arguments) {
            ("alpha", None) => Ok(Self::Alpha),
            ("bool", None) => Ok(Self::Bool),
            ("datetime", None) => Ok(Self::DateTime),
            ("decimal", None) => Ok(Self::Decimal),
            ("double" | "float", None) => Ok(Self::Double),
            ("guid", None) => Ok(Self::Guid),
            ("int", None) => Ok(Self::Int),
            ("long", None) => Ok(Self::Long),
            ("required", None) => Ok(Self::Required),
            ("minlength", Some(text)) => {
                Ok(Self::Length { low: one(text, "minlength", "minlength(n)")?, high: u64::MAX })
            }
            ("maxlength", Some(text)) => {
                Ok(Self::Length { low: 0, high: one(text, "maxlength", "maxlength(n)")? })
            }
            ("length", Some(text)) => length(text),
            ("min", Some(text)) => Ok(Self::Range { low: one(text, "min", "min(n)")?, high: i64::MAX }),
            ("max", Some(text)) => Ok(Self::Range { low: i64::MIN, high: one(text, "max", "max(n)")? }),
            ("range", Some(text)) => range(text),
            ("regex", Some(text)) => regex(text),
            (other, _) => Err(usage_of(other).map_or_else(
                || ConstraintError::Unknown(text.to_owned()),
                |(name, usage)| ConstraintError::Arguments { name, usage },
            )),
        }
    }

    /// Whether a decoded value meets the condition.
    pub fn accepts(&self, value: &str) -> bool {
        match self {
            Self::Alpha => value.bytes().all(|byte| byte.is_ascii_alphabetic()),
            Self::Bool => value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"),
            Self::DateTime => is_datetime(value),
            Self::Decimal => is_decimal(value),
            Self::Double => is_double(value),
            Self::Guid => is_guid(value),
            Self::Int => value.parse::<i32>().is_ok(),
            Self::Long => value.parse::<i64>().is_ok(),
            Self::Length { low, high } => {
                let units = value.encode_utf16().count() as u64;
                *low <= units && units <= *high
            }
            Self::Range { low, high } => {
                value.parse::<i64>().is_ok_and(|number| *low <= number && number <= *high)
            }
            Self::Regex(expression) => expression.is_match(value),
            Self::Required => !value.is_empty(),
        }
    }
}

/// `length(3)` into name and arguments. Without a closing parenthesis at the end all of it is the name.
fn split_call(text: &str) -> (&str, Option<&str>) {
    let call = text.strip_suffix(')').and_then(|open| open.split_once('('));
    call.map_or((text.trim(), None), |(name, arguments)| (name.trim(), Some(arguments)))
}

/// The right spelling of a known constraint that was written with the wrong arguments.
fn usage_of(name: &str) -> Option<(&'static str, &'static str)> {
    const USAGES: [(&str, &str); 17] = [
        ("alpha", "alpha"),
        ("bool", "bool"),
        ("datetime", "datetime"),
        ("decimal", "decimal"),
        ("double", "double"),
        ("float", "float"),
        ("guid", "guid"),
        ("int", "int"),
        ("long", "long"),
        ("required", "required"),
        ("minlength", "minlength(n)"),
        ("maxlength", "maxlength(n)"),
        ("length", "length(n) or length(low,high)"),
        ("min", "min(n)"),
        ("max", "max(n)"),
        ("range", "range(low,high)"),
        ("regex", "regex(expression)"),
    ];
    USAGES.into_iter().find(|(known, _)| *known == name)
}

fn one<T: std::str::FromStr>(
    text: &str,
    name: &'static str,
    usage: &'static str,
) -> Result<T, ConstraintError> {
    text.trim().parse().map_err(|_| ConstraintError::Arguments { name, usage })
}

fn length(text: &str) -> Result<Constraint, ConstraintError> {
    const USAGE: &str = "length(n) or length(low,high)";
    let (low, high) = text.split_once(',').unwrap_or((text, text));
    let (low, high) = (one::<u32>(low, "length", USAGE)?, one::<u32>(high, "length", USAGE)?);
    if low > high {
        return Err(ConstraintError::EmptyRange { name: "length", low: low.into(), high: high.into() });
    }
    Ok(Constraint::Length { low: low.into(), high: high.into() })
}

fn range(text: &str) -> Result<Constraint, ConstraintError> {
    const USAGE: &str = "range(low,high)";
    let arguments = text.split_once(',');
    let (low, high) = arguments.ok_or(ConstraintError::Arguments { name: "range", usage: USAGE })?;
    let (low, high) = (one(low, "range", USAGE)?, one(high, "range", USAGE)?);
    if low > high {
        return Err(ConstraintError::EmptyRange { name: "range", low, high });
    }
    Ok(Constraint::Range { low, high })
}

fn regex(text: &str) -> Result<Constraint, ConstraintError> {
    let built = RegexBuilder::new(text).case_insensitive(true).size_limit(REGEX_BYTES_MAX).build();
    built.map(|expression| Constraint::Regex(Box::new(expression))).map_err(|error| {
        // The library's message is a drawing over several lines; its last line has the cause.
        let text = error.to_string();
        let cause = text.lines().last().unwrap_or_default();
        ConstraintError::Regex(cause.trim_start_matches("error: ").to_owned())
    })
}

/// The digits of a number without its sign, its thousands separators and its fraction; `None` if it is no number.
fn integer_digits(text: &str) -> Option<String> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits: String = whole.chars().filter(|symbol| *symbol != ',').collect();
    let some_digit = !digits.is_empty() || !fraction.is_empty();
    let only_digits = digits.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    (some_digit && only_digits && !whole.starts_with(',')).then_some(digits)
}

fn is_decimal(text: &str) -> bool {
    let Some(digits) = integer_digits(text) else { return false };
    let significant = digits.trim_start_matches('0');
    significant.is_empty() || significant.parse::<u128>().is_ok_and(|number| number <= DECIMAL_MAX)
}

fn is_double(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if unsigned.eq_ignore_ascii_case("nan") || unsigned.eq_ignore_ascii_case("infinity") {
        return true;
    }
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else {
        return integer_digits(text).is_some();
    };
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    integer_digits(mantissa).is_some()
        && !exponent.is_empty()
        && exponent.bytes().all(|byte| byte.is_ascii_digit())
}

/// Dates and times as programs write them: ISO 8601 with its parts left off from the right, and the invariant
/// culture's `month/day/year`. .NET guesses at more spellings; those aren't worth a surprise.
fn is_datetime(text: &str) -> bool {
    const TIMES: [&str; 2] = ["%H:%M", "%H:%M:%S%.f"];
    const DATES: [&str; 3] = ["%Y-%m-%d", "%Y/%m/%d", "%m/%d/%Y"];
    let text = text.trim();
    if DATES.iter().any(|format| NaiveDate::parse_from_str(text, format).is_ok()) {
        return true;
    }
    let local = without_zone(text);
    if TIMES.iter().any(|format| NaiveTime::parse_from_str(local, format).is_ok()) {
        return true;
    }
    DATES.iter().any(|date| {
        TIMES.iter().any(|time| {
            ["T", " "].iter().any(|between| {
                NaiveDateTime::parse_from_str(local, &format!("{date}{between}{time}")).is_ok()
            })
        })
    })
}

/// Cuts `Z` or `+02:00` off the end of a time.
fn without_zone(text: &str) -> &str {
    if let Some(local) = text.strip_suffix(['Z', 'z']) {
        return local;
    }
    let Some(at) = text.len().checked_sub(6).filter(|at| text.is_char_boundary(*at)) else { return text };
    let (local, zone) = text.split_at(at);
    let signed = zone.strip_prefix(['+', '-']);
    let is_zone = signed.is_some_and(|offset| NaiveTime::parse_from_str(offset, "%H:%M").is_ok())
        && local.contains(':');
    if is_zone { local } else { text }
}

/// 32 hexadecimal digits, plain or hyphenated; the hyphenated form also in braces or parentheses.
fn is_guid(text: &str) -> bool {
    let inner = match (text.as_bytes().first(), text.as_bytes().last()) {
        (Some(b'{'), Some(b'}')) | (Some(b'('), Some(b')')) => &text[1..text.len() - 1],
        _ if text.len() == 32 => return text.bytes().all(|byte| byte.is_ascii_hexdigit()),
        _ => text,
    };
    inner.len() == 36
        && inner.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(constraint: &str, accepted: &[&str], refused: &[&str]) {
        let parsed = Constraint::parse(constraint).unwrap();
        for value in accepted {
            assert!(parsed.accepts(value), "{constraint} should accept {value:?}");
        }
        for value in refused {
            assert!(!parsed.accepts(value), "{constraint} should refuse {value:?}");
        }
    }

    #[test]
    fn integers() {
        check("int", &["0", "-5", "+5", "2147483647"], &["", "2147483648", "1.0", "x", "5 ", "٣"]);
        check("LONG", &["9223372036854775807", "-1"], &["9223372036854775808", ""]);
        check("min(18)", &["18", "99"], &["17", "x", ""]);
        check("max(-2)", &["-2", "-99"], &["-1", ""]);
        check("range(18, 120)", &["18", "120"], &["17", "121", "abc"]);
    }

    #[test]
    fn numbers_with_fractions() {
        check(
            "decimal",
            &["49.99", "-1", ".5", "5.", "1,000.01", "79228162514264337593543950335", "00000"],
            &["", ".", "-", "1e3", "NaN", "79228162514264337593543950336", ",1"],
        );
        check("double", &["1.234", "1e10", "-1.5E-3", "NaN", "-Infinity"], &["", "e", "1e", "1e+", "x"]);
        check("float", &["1.5"], &["1.5f"]);
    }

    #[test]
    fn words() {
        check("bool", &["true", "FALSE"], &["1", "yes", ""]);
        check("alpha", &["Rick", "a"], &["a1", "a-b", "é"]);
        check("required", &["x"], &[""]);
        check("minlength(4)", &["rick", "ricky"], &["ric"]);
        check("maxlength(3)", &["", "abc"], &["abcd"]);
        check("length(2)", &["ab", "😀"], &["a", "abc"]);
        check("length(2,3)", &["ab", "abc"], &["a", "abcd"]);
    }

    #[test]
    fn guids_in_all_spellings() {
        let hyphenated = "CD2C1638-1638-72D5-1638-DEADBEEF1638";
        check(
            "guid",
            &[
                hyphenated,
                &format!("{{{hyphenated}}}"),
                &format!("({hyphenated})"),
                "cd2c1638163872d51638deadbeef1638",
            ],
            &[
                "",
                "{",
                "{}",
                "cd2c1638",
                "cd2c1638-1638-72d5-1638-deadbeef163z",
                "{cd2c1638163872d51638deadbeef1638}",
            ],
        );
    }

    #[test]
    fn dates_and_times() {
        check(
            "datetime",
            &[
                "2016-12-31",
                "2016-12-31T07:32",
                "2016-12-31 7:32:10.25",
                "2016-12-31T07:32:10Z",
                "2016-12-31T07:32:10-07:00",
                "12/31/2016",
                "23:59",
            ],
            &["", "2016-02-30", "2016-12-31T25:00", "tomorrow", "2016", "😀😀", "Z"],
        );
    }

    #[test]
    fn regular_expressions_search_without_case() {
        check(r"regex(^\d{3}-\d{2}-\d{4}$)", &["123-45-6789"], &["123-45-678"]);
        check("regex(^(cats|dogs)$)", &["Cats", "dogs"], &["catsx"]);
        check("regex(b)", &["abc"], &["acc"]);
        check(r"regex(^\p{L}+$)", &["Ärger"], &["a1"]);
    }

    #[test]
    fn unreadable_constraints_say_what_is_accepted() {
        let error = |text: &str| Constraint::parse(text).unwrap_err();
        assert_eq!(error("integer"), ConstraintError::Unknown("integer".to_owned()));
        assert_eq!(error("min"), ConstraintError::Arguments { name: "min", usage: "min(n)" });
        assert_eq!(error("int(5)"), ConstraintError::Arguments { name: "int", usage: "int" });
        assert_eq!(
            error("minlength(-1)"),
            ConstraintError::Arguments { name: "minlength", usage: "minlength(n)" }
        );
        assert_eq!(error("range(5,1)"), ConstraintError::EmptyRange { name: "range", low: 5, high: 1 });
        assert!(
            matches!(error("regex(a(?=b))"), ConstraintError::Regex(cause) if cause.contains("look-around"))
        );
        assert!(matches!(error("regex(a{1000}{1000}{1000})"), ConstraintError::Regex(_)));
        assert!(matches!(error(""), ConstraintError::Unknown(_)));
    }
}
