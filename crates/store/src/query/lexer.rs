//! Characters to tokens.

use serde_json::Number;

use super::problem;
use crate::error::Error;

/// Longer queries are refused before they are read. In bytes.
const QUERY_BYTES_MAX: usize = 64 * 1024;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A keyword or a name, as written.
    Word(String),
    Number(Number),
    Text(String),
    /// Without its `@`.
    Parameter(String),
    Symbol(&'static str),
    End,
}

/// A token and the position of its first character, from 1.
pub(super) type Positioned = (Token, usize);

/// The longer ones first.
const SYMBOLS: [&str; 24] = [
    "!=", "<>", "<=", ">=", "||", "??", "=", "<", ">", "+", "-", "*", "/", "%", "(", ")", "[", "]", "{", "}",
    ",", ".", ":", "?",
];

pub(super) fn tokens(text: &str) -> Result<Vec<Positioned>, Error> {
    if text.len() > QUERY_BYTES_MAX {
        return Err(problem(1, format!("the query is longer than {QUERY_BYTES_MAX} bytes")));
    }
    let mut lexer = Lexer { rest: text, position: 1 };
    let mut tokens = Vec::new();
    loop {
        lexer.take_while(char::is_whitespace);
        let position = lexer.position;
        let token = lexer.token()?;
        let is_end = token == Token::End;
        tokens.push((token, position));
        if is_end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    rest: &'a str,
    position: usize,
}

impl<'a> Lexer<'a> {
    fn token(&mut self) -> Result<Token, Error> {
        let Some(first) = self.rest.chars().next() else { return Ok(Token::End) };
        match first {
            '\'' | '"' => self.text(first),
            '0'..='9' => self.number(),
            '@' => {
                self.take(1);
                let name = self.take_while(is_in_name);
                if name.is_empty() {
                    Err(problem(self.position, "a parameter's name is missing"))
                } else {
                    Ok(Token::Parameter(name.to_owned()))
                }
            }
            _ if is_in_name(first) => Ok(Token::Word(self.take_while(is_in_name).to_owned())),
            _ => match SYMBOLS.into_iter().find(|symbol| self.rest.starts_with(symbol)) {
                Some(symbol) => {
                    self.take(symbol.len());
                    Ok(Token::Symbol(symbol))
                }
                None => Err(problem(self.position, format!("{first:?} is not supported"))),
            },
        }
    }

    fn number(&mut self) -> Result<Token, Error> {
        let position = self.position;
        let rest = self.rest.as_bytes();
        let digits = |from: usize| rest.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
        let mut length = digits(0);
        if rest.get(length) == Some(&b'.') {
            length += 1 + digits(length + 1);
        }
        if matches!(rest.get(length), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(rest.get(length + 1), Some(b'+' | b'-')));
            length += 1 + sign + digits(length + 1 + sign);
        }
        let text = self.take(length);
        match serde_json::from_str(text) {
            Ok(number) if !self.rest.starts_with(is_in_name) => Ok(Token::Number(number)),
            _ => Err(problem(position, "this is not a number as JSON writes them")),
        }
    }

    /// A string with the escapes of JSON, in either kind of quotes.
    fn text(&mut self, quote: char) -> Result<Token, Error> {
        let start = self.position;
        let open = || problem(start, "this string does not end");
        self.take(1);
        let mut text = String::new();
        loop {
            let position = self.position;
            let character = self.next().ok_or_else(open)?;
            if character == quote {
                return Ok(Token::Text(text));
            }
            if character != '\\' {
                text.push(character);
                continue;
            }
            text.push(match self.next().ok_or_else(open)? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'u' => self.unicode(position)?,
                same @ ('\'' | '"' | '\\' | '/') => same,
                other => return Err(problem(position, format!("the escape \\{other} is not known"))),
            });
        }
    }

    /// Four hex digits after `\u`, and a second escape for characters that take two.
    fn unicode(&mut self, position: usize) -> Result<char, Error> {
        let wrong = || problem(position, "this is not a Unicode escape");
        let mut units = vec![self.hex().ok_or_else(wrong)?];
        if (0xD800..0xDC00).contains(&units[0]) && self.rest.starts_with("\\u") {
            self.take(2);
            units.push(self.hex().ok_or_else(wrong)?);
        }
        match char::decode_utf16(units).next() {
            Some(Ok(character)) => Ok(character),
            _ => Err(wrong()),
        }
    }

    fn hex(&mut self) -> Option<u16> {
        let digits =
            self.rest.get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        let unit = u16::from_str_radix(digits, 16).ok()?;
        self.take(4);
        Some(unit)
    }

    fn next(&mut self) -> Option<char> {
        let character = self.rest.chars().next()?;
        self.take(character.len_utf8());
        Some(character)
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let length = self.rest.find(|character| !wanted(character)).unwrap_or(self.rest.len());
        self.take(length)
    }

    /// Takes that many bytes, which end between two characters.
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        self.position += taken.chars().count();
        taken
    }
}

fn is_in_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}
