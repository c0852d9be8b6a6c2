//! The reader itself: one pass over the characters, recursion bounded by [`DEPTH_MAX`].

use std::collections::HashSet;

use super::{DEPTH_MAX, Document, Kind, Member, Node, Note, SyntaxError};

/// A place in the text.
#[derive(Clone, Copy)]
struct Mark {
    line: u32,
    column: u32,
}

pub(super) struct Scanner<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    mark: Mark,
    notes: Vec<Note>,
    commented: bool,
}

type Scanned<T> = Result<T, SyntaxError>;

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut notes = Vec::new();
        let text = match text.strip_prefix('\u{feff}') {
            Some(rest) => {
                notes.push(Note { line: 1, message: "the file starts with a byte order mark".to_owned() });
                rest
            }
            None => text,
        };
        Self { rest: text.chars().peekable(), mark: Mark { line: 1, column: 1 }, notes, commented: false }
    }

    pub(super) fn document(mut self) -> Scanned<Document> {
        self.skip()?;
        if self.peek().is_none() {
            return Err(error(self.mark, "the file is empty"));
        }
        let root = self.value(0)?;
        self.skip()?;
        if self.peek().is_some() {
            return Err(error(self.mark, "something follows after the end"));
        }
        Ok(Document { root, notes: self.notes })
    }

    fn peek(&mut self) -> Option<char> {
        self.rest.peek().copied()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.rest.next()?;
        if character == '\n' {
            self.mark = Mark { line: self.mark.line.saturating_add(1), column: 1 };
        } else {
            self.mark.column = self.mark.column.saturating_add(1);
        }
        Some(character)
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.next();
        }
        found
    }

    fn note(&mut self, line: u32, message: impl Into<String>) {
        self.notes.push(Note { line, message: message.into() });
    }

    /// Blanks and comments.
    fn skip(&mut self) -> Scanned<()> {
        loop {
            match self.peek() {
                Some(' ' | '\t' | '\r' | '\n') => {
                    self.next();
                }
                Some('/') => self.comment()?,
                _ => return Ok(()),
            }
        }
    }

    fn comment(&mut self) -> Scanned<()> {
        let start = self.mark;
        self.next();
        match self.next() {
            Some('/') => {
                while self.peek().is_some_and(|character| character != '\n') {
                    self.next();
                }
            }
            Some('*') => loop {
                match self.next() {
                    Some('*') if self.take('/') => break,
                    Some(_) => {}
                    None => return Err(error(start, "the comment is not closed")),
                }
            },
            _ => return Err(error(start, "this is no JSON value")),
        }
        // One note says it for the whole file.
        if !std::mem::replace(&mut self.commented, true) {
            self.note(start.line, "comments are not part of JSON");
        }
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Scanned<Node> {
        let start = self.mark;
        if depth >= DEPTH_MAX && matches!(self.peek(), Some('{' | '[')) {
            return Err(error(start, format!("more than {DEPTH_MAX} levels")));
        }
        let kind = match self.peek() {
            Some('{') => self.object(depth)?,
            Some('[') => self.list(depth)?,
            Some('"') => Kind::Text(self.text()?),
            Some('-' | '0'..='9') => self.number()?,
            Some(_) => self.word()?,
            None => return Err(error(start, "the file ends too early")),
        };
        Ok(Node { kind, line: start.line, setting: None })
    }

    fn object(&mut self, depth: usize) -> Scanned<Kind> {
        self.next();
        let mut members: Vec<Member> = Vec::new();
        let mut seen = HashSet::new();
        loop {
            self.skip()?;
            let start = self.mark;
            match self.peek() {
                Some('}') => {
                    self.next();
                    return Ok(Kind::Object(members));
                }
                Some('"') => {}
                Some(_) => return Err(error(start, "a key in double quotes is missing")),
                None => return Err(error(start, "the file ends too early")),
            }
            let key = self.text()?;
            if !seen.insert(key.to_lowercase()) {
                self.note(start.line, format!("the key `{key}` is here twice"));
            }
            self.skip()?;
            if !self.take(':') {
                return Err(error(self.mark, "a colon is missing after the key"));
            }
            self.skip()?;
            let value = self.value(depth + 1)?;
            members.push(Member { key, line: start.line, value });
            self.separator('}')?;
        }
    }

    fn list(&mut self, depth: usize) -> Scanned<Kind> {
        self.next();
        let mut items = Vec::new();
        loop {
            self.skip()?;
            if self.take(']') {
                return Ok(Kind::List(items));
            }
            items.push(self.value(depth + 1)?);
            self.separator(']')?;
        }
    }

    /// A comma, or the closing bracket, which is left for the caller.
    fn separator(&mut self, close: char) -> Scanned<()> {
        self.skip()?;
        let start = self.mark;
        match self.peek() {
            Some(',') => {
                self.next();
                self.skip()?;
                if self.peek() == Some(close) {
                    self.note(start.line, "a comma before the closing bracket");
                }
                Ok(())
            }
            Some(character) if character == close => Ok(()),
            Some(_) => Err(error(start, format!("a comma or `{close}` is missing"))),
            None => Err(error(start, "the file ends too early")),
        }
    }

    fn text(&mut self) -> Scanned<String> {
        let start = self.mark;
        self.next();
        let mut text = String::new();
        loop {
            let place = self.mark;
            match self.next() {
                Some('"') => return Ok(text),
                Some('\\') => text.push(self.escape(place)?),
                Some('\n' | '\r') | None => return Err(error(start, "the text is not closed on its line")),
                Some(character) if character < ' ' => {
                    return Err(error(place, "a control character must be written as an escape"));
                }
                Some(character) => text.push(character),
            }
        }
    }

    fn escape(&mut self, start: Mark) -> Scanned<char> {
        Ok(match self.next() {
            Some(same @ ('"' | '\\' | '/')) => same,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => self.unicode(start)?,
            _ => return Err(error(start, "this escape does not exist in JSON")),
        })
    }

    /// `XXXX`, or a pair of surrogates `XXXX\uXXXX`.
    fn unicode(&mut self, start: Mark) -> Scanned<char> {
        let first = self.hex(start)?;
        let code = if (0xd800..0xdc00).contains(&first) {
            let second = if self.take('\\') && self.take('u') { self.hex(start)? } else { 0 };
            if !(0xdc00..0xe000).contains(&second) {
                return Err(error(start, "this escape is half a character"));
            }
            0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
        } else {
            first
        };
        char::from_u32(code).ok_or_else(|| error(start, "this escape is half a character"))
    }

    fn hex(&mut self, start: Mark) -> Scanned<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.next().and_then(|character| character.to_digit(16));
            code = code * 16 + digit.ok_or_else(|| error(start, "this escape does not exist in JSON"))?;
        }
        Ok(code)
    }

    /// Takes what could be part of a number or word.
    fn token(&mut self) -> String {
        let mut token = String::new();
        while let Some(character) =
            self.peek().filter(|next| next.is_alphanumeric() || "+-._".contains(*next))
        {
            token.push(character);
            self.next();
        }
        token
    }

    fn number(&mut self) -> Scanned<Kind> {
        let start = self.mark;
        let token = self.token();
        // The rules for numbers are serde's, so that what is kept here can always be parsed later.
        match serde_json::from_str::<serde_json::Number>(&token) {
            Ok(_) => Ok(Kind::Number(token)),
            Err(_) => Err(error(start, "this is no number in JSON")),
        }
    }

    fn word(&mut self) -> Scanned<Kind> {
        let start = self.mark;
        match self.token().as_str() {
            "true" => Ok(Kind::Bool(true)),
            "false" => Ok(Kind::Bool(false)),
            "null" => Ok(Kind::Null),
            _ => Err(error(start, "this is no JSON value")),
        }
    }
}

fn error(mark: Mark, message: impl Into<String>) -> SyntaxError {
    SyntaxError { line: mark.line, column: mark.column, message: message.into() }
}
