//! Dates as .NET writes them: the custom and standard format strings of `DateTime.ToString` for UTC times in the
//! invariant culture (source: .NET documentation, "Custom date and time format strings").

use std::fmt::Write as _;
use std::time::SystemTime;

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// One piece of a format string.
enum Token {
    Text(String),
    /// A specifier and how often it is repeated.
    Field(char, usize),
}

/// # Errors
/// One sentence on what is wrong with the format.
pub(super) fn check(format: &str) -> Result<(), String> {
    tokens(format).map(|_| ())
}

/// The time in UTC. A format that [`check`] refuses is returned as it is.
pub(super) fn format(time: SystemTime, format: &str) -> String {
    let Ok(tokens) = tokens(format) else { return format.to_owned() };
    let time = DateTime::<Utc>::from(time);
    let mut text = String::new();
    for token in tokens {
        match token {
            Token::Text(literal) => text.push_str(&literal),
            Token::Field(letter, count) => write_field(&mut text, time, letter, count),
        }
    }
    text
}

/// Single letters are shorthands for whole patterns.
fn standard(letter: char) -> Option<&'static str> {
    Some(match letter {
        'd' => "MM/dd/yyyy",
        'D' => "dddd, dd MMMM yyyy",
        'f' => "dddd, dd MMMM yyyy HH:mm",
        'F' | 'U' => "dddd, dd MMMM yyyy HH:mm:ss",
        'g' => "MM/dd/yyyy HH:mm",
        'G' => "MM/dd/yyyy HH:mm:ss",
        'm' | 'M' => "MMMM dd",
        'o' | 'O' => "yyyy-MM-ddTHH:mm:ss.fffffffK",
        'r' | 'R' => "ddd, dd MMM yyyy HH:mm:ss 'GMT'",
        's' => "yyyy-MM-ddTHH:mm:ss",
        't' => "HH:mm",
        'T' => "HH:mm:ss",
        'u' => "yyyy-MM-dd HH:mm:ss'Z'",
        'y' | 'Y' => "yyyy MMMM",
        _ => return None,
    })
}

fn tokens(format: &str) -> Result<Vec<Token>, String> {
    let mut characters = format.chars();
    let pattern = match (characters.next(), characters.next()) {
        (None, _) => return Err("the format of a date is empty".to_owned()),
        (Some(letter), None) => standard(letter)
            .ok_or_else(|| format!("`{letter}` is no format of a date; e.g. yyyy-MM-dd is"))?,
        _ => format,
    };
    let mut tokens = Vec::new();
    let mut rest = pattern.chars().peekable();
    while let Some(letter) = rest.next() {
        match letter {
            'd' | 'f' | 'F' | 'g' | 'h' | 'H' | 'K' | 'm' | 'M' | 's' | 't' | 'y' | 'z' => {
                let mut count = 1;
                while letter != 'K' && rest.next_if_eq(&letter).is_some() {
                    count += 1;
                }
                if count > 7 {
                    return Err(format!("`{letter}` is repeated too often in the format of a date"));
                }
                tokens.push(Token::Field(letter, count));
            }
            '\'' | '"' => {
                let mut literal = String::new();
                loop {
                    match rest.next() {
                        Some(end) if end == letter => break,
                        Some(character) => literal.push(character),
                        None => return Err(format!("{letter} is not closed in the format of a date")),
                    }
                }
                tokens.push(Token::Text(literal));
            }
            '\\' => {
                let escaped = rest.next().ok_or("the format of a date ends with a backslash")?;
                tokens.push(Token::Text(escaped.to_string()));
            }
            // `%d` is the specifier `d` alone, as one letter would be a standard format.
            '%' => {}
            other => tokens.push(Token::Text(other.to_string())),
        }
    }
    Ok(tokens)
}

fn write_field(text: &mut String, time: DateTime<Utc>, letter: char, count: usize) {
    let twelve = match time.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    match (letter, count) {
        ('y', 1 | 2) => number(text, time.year().rem_euclid(100).unsigned_abs(), count),
        ('y', _) => number(text, time.year().unsigned_abs(), count),
        ('M', 1 | 2) => number(text, time.month(), count),
        ('M', _) => name(text, &MONTHS, time.month0(), count),
        ('d', 1 | 2) => number(text, time.day(), count),
        ('d', _) => name(text, &DAYS, time.weekday().num_days_from_monday(), count),
        ('H', _) => number(text, time.hour(), count.min(2)),
        ('h', _) => number(text, twelve, count.min(2)),
        ('m', _) => number(text, time.minute(), count.min(2)),
        ('s', _) => number(text, time.second(), count.min(2)),
        ('t', _) => {
            let half = if time.hour() < 12 { "AM" } else { "PM" };
            text.push_str(&half[..count.min(2)]);
        }
        ('f' | 'F', _) => fraction(text, time.timestamp_subsec_nanos(), letter, count),
        ('g', _) => text.push_str("A.D."),
        ('K', _) => text.push('Z'),
        ('z', 1) => text.push_str("+0"),
        ('z', 2) => text.push_str("+00"),
        ('z', _) => text.push_str("+00:00"),
        _ => {}
    }
}

fn number(text: &mut String, value: u32, width: usize) {
    // Writing to a String can't fail.
    write!(text, "{value:0width$}").ok();
}

/// Three letters for a specifier of three, the whole name for more.
fn name(text: &mut String, names: &[&str], index: u32, count: usize) {
    let name = names.get(index as usize).copied().unwrap_or_default();
    text.push_str(if count == 3 { &name[..3] } else { name });
}

/// `f`: that many digits; `F`: the same without zeros at the end, and without the dot before if none is left.
fn fraction(text: &mut String, nanos: u32, letter: char, count: usize) {
    let digits = format!("{:07}", (nanos / 100).min(9_999_999));
    let digits = &digits[..count];
    if letter == 'f' {
        text.push_str(digits);
        return;
    }
    let digits = digits.trim_end_matches('0');
    if digits.is_empty() && text.ends_with('.') {
        text.pop();
    }
    text.push_str(digits);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn check_format(pattern: &str, expected: &str) {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_772_946_305_120);
        let got = check(pattern)
            .map(|()| format(time, pattern))
            .unwrap_or_else(|message| format!("error: {message}"));
        assert_eq!(got, expected, "{pattern}");
    }

    #[test]
    fn dates_are_written_as_dotnet_writes_them() {
        check_format("yyyy-MM-ddTHH-mm-ssZ", "2026-03-08T05-05-05Z");
        check_format("yy.M.d h:m:s tt", "26.3.8 5:5:5 AM");
        check_format("dddd, dd MMMM yyyy", "Sunday, 08 March 2026");
        check_format("ddd MMM", "Sun Mar");
        check_format("HH 'o''clock' t", "05 oclock A");
        check_format("ss.fffffff zzz", "05.1200000 +00:00");
        check_format("ss.FFF", "05.12");
        check_format("%d", "8");
        check_format("\\yyy", "y26");
        check_format("o", "2026-03-08T05:05:05.1200000Z");
        check_format("r", "Sun, 08 Mar 2026 05:05:05 GMT");
        check_format("s", "2026-03-08T05:05:05");
        check_format("d", "03/08/2026");
    }

    #[test]
    fn bad_formats_are_refused() {
        check_format("", "error: the format of a date is empty");
        check_format("q", "error: `q` is no format of a date; e.g. yyyy-MM-dd is");
        check_format("yyyy 'x", "error: ' is not closed in the format of a date");
        check_format("ffffffff", "error: `f` is repeated too often in the format of a date");
        check_format("yy\\", "error: the format of a date ends with a backslash");
    }

    proptest! {
        #[test]
        fn no_format_and_no_time_panics(pattern in "[a-zA-Z'\"%\\\\:. ]{0,12}", ms in 0_u64..4_000_000_000_000) {
            format(SystemTime::UNIX_EPOCH + Duration::from_millis(ms), &pattern);
        }
    }
}
