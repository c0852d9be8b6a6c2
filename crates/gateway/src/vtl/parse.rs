//! Text to parts.

use super::{Expression, Fault, Part, Reference, Step, VALUE_DEPTH_MAX, expression};

/// Directives and brackets within each other; the parser and the renderer recurse.
pub(super) const DEPTH_MAX: usize = 40;
/// As API Gateway takes them, in bytes.
const BYTES_MAX: usize = 300 * 1024;
/// Directives of Velocity that no template of API Gateway needs.
const UNSERVED: [&str; 5] = ["macro", "parse", "include", "define", "evaluate"];

pub(super) fn template(text: &str) -> Result<Vec<Part>, Fault> {
    if text.len() > BYTES_MAX {
        return Err(Fault { line: 1, what: format!("the template has more than {} KiB", BYTES_MAX / 1024) });
    }
    let mut reader = Reader { text, at: 0, depth: 0, first_line: 1 };
    let (parts, end) = reader.parts()?;
    match end {
        End::Text => Ok(parts),
        _ => Err(reader.fault("#end, #else or #elseif has no #if or #foreach before it")),
    }
}

/// What a list of parts ended with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Text,
    Close,
    Else,
    ElseIf,
}

/// Reads on in a text.
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    first_line: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn fault(&self, what: impl Into<String>) -> Fault {
        let before = self.text.get(..self.at).unwrap_or_default();
        let lines = u32::try_from(before.matches('\n').count()).unwrap_or(u32::MAX);
        Fault { line: self.first_line.saturating_add(lines), what: what.into() }
    }

    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn takes(&mut self, word: &str) -> bool {
        let is_there = self.rest().starts_with(word);
        if is_there {
            self.at += word.len();
        }
        is_there
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += letter.len_utf8();
        Some(letter)
    }

    pub(super) fn blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    pub(super) fn expect(&mut self, word: &str) -> Result<(), Fault> {
        self.blanks();
        if self.takes(word) { Ok(()) } else { Err(self.fault(format!("`{word}` is missing"))) }
    }

    /// Runs a step one level deeper.
    pub(super) fn deeper<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.depth >= DEPTH_MAX {
            return Err(self.fault(format!("there are more than {DEPTH_MAX} levels")));
        }
        self.depth += 1;
        let found = step(self);
        self.depth -= 1;
        found
    }

    /// A name, if there is one.
    pub(super) fn name(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        let is_first = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
        let is_next = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
        if !rest.starts_with(is_first) {
            return None;
        }
        let length = rest.find(|letter| !is_next(letter)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length)
    }

    /// The parts of a text in double quotes.
    pub(super) fn inner(&self, text: &str) -> Result<Vec<Part>, Fault> {
        let line = self.fault("").line;
        let mut reader = Reader { text, at: 0, depth: self.depth + 1, first_line: line };
        if self.depth >= DEPTH_MAX {
            return Err(self.fault(format!("there are more than {DEPTH_MAX} levels")));
        }
        let (parts, end) = reader.parts()?;
        if end == End::Text { Ok(parts) } else { Err(self.fault("a text has #end without #if")) }
    }

    fn parts(&mut self) -> Result<(Vec<Part>, End), Fault> {
        let mut parts = Vec::new();
        loop {
            let rest = self.rest();
            let length = rest.find(['$', '#', '\\']).unwrap_or(rest.len());
            if length > 0 {
                push_text(&mut parts, rest.get(..length).unwrap_or_default());
                self.at += length;
            }
            match self.peek() {
                None => return Ok((parts, End::Text)),
                Some('\\') => {
                    self.at += 1;
                    // What follows is meant as it is written.
                    if matches!(self.peek(), Some('$' | '#')) && !self.rest().starts_with("##") {
                        let sign = self.next().unwrap_or_default();
                        push_text(&mut parts, sign.encode_utf8(&mut [0; 4]));
                    } else {
                        push_text(&mut parts, "\\");
                    }
                }
                Some('$') => self.print(&mut parts)?,
                Some(_) => {
                    if let Some(end) = self.directive(&mut parts)? {
                        return Ok((parts, end));
                    }
                }
            }
        }
    }

    fn print(&mut self, parts: &mut Vec<Part>) -> Result<(), Fault> {
        let start = self.at;
        let Some((reference, is_quiet)) = self.reference()? else {
            self.at = start + 1;
            push_text(parts, "$");
            return Ok(());
        };
        let written = self.text.get(start..self.at).unwrap_or_default().to_owned();
        parts.push(Part::Print { reference, is_quiet, written });
        Ok(())
    }

    /// A reference from its `$` on; `None` if it is none, with the place anywhere.
    pub(super) fn reference(&mut self) -> Result<Option<(Reference, bool)>, Fault> {
        if !self.takes("$") {
            return Ok(None);
        }
        let is_quiet = self.takes("!");
        let has_brace = self.takes("{");
        let Some(name) = self.name() else { return Ok(None) };
        let name = name.to_owned();
        let mut steps = Vec::new();
        while let Some(step) = self.deeper(Self::step)? {
            steps.push(step);
            // What is missing on the way is made where it is set.
            if steps.len() > VALUE_DEPTH_MAX {
                return Err(self.fault(format!("`${name}` has more than {VALUE_DEPTH_MAX} parts")));
            }
        }
        if has_brace && !self.takes("}") {
            return Err(self.fault(format!("`${{{name}` has no `}}`")));
        }
        Ok(Some((Reference { name, steps }, is_quiet)))
    }

    fn step(&mut self) -> Result<Option<Step>, Fault> {
        let start = self.at;
        if self.takes("[") {
            let index = expression::read(self)?;
            self.expect("]")?;
            return Ok(Some(Step::Index(index)));
        }
        if !self.takes(".") {
            return Ok(None);
        }
        let Some(name) = self.name() else {
            // A full stop at the end of a sentence.
            self.at = start;
            return Ok(None);
        };
        let name = name.to_owned();
        if !self.takes("(") {
            return Ok(Some(Step::Property(name)));
        }
        let arguments = self.list(")")?;
        Ok(Some(Step::Call(name, arguments)))
    }

    /// Expressions with commas, up to the closing bracket.
    pub(super) fn list(&mut self, close: &str) -> Result<Vec<Expression>, Fault> {
        let mut found = Vec::new();
        self.blanks();
        if self.takes(close) {
            return Ok(found);
        }
        loop {
            found.push(expression::read(self)?);
            self.blanks();
            if self.takes(close) {
                return Ok(found);
            }
            self.expect(",")?;
        }
    }

    /// From a `#` on. What ends a list of parts is given back.
    fn directive(&mut self, parts: &mut Vec<Part>) -> Result<Option<End>, Fault> {
        let start = self.at;
        self.at += 1;
        if self.takes("#") {
            let rest = self.rest();
            self.at += rest.find('\n').map_or(rest.len(), |place| place + 1);
            return Ok(None);
        }
        for (open, close) in [("*", "*#"), ("[[", "]]#")] {
            if self.takes(open) {
                let rest = self.rest();
                let Some(length) = rest.find(close) else {
                    self.at = start;
                    return Err(self.fault(format!("`#{open}` has no `{close}`")));
                };
                if open == "[[" {
                    push_text(parts, rest.get(..length).unwrap_or_default());
                }
                self.at += length + close.len();
                return Ok(None);
            }
        }
        let has_brace = self.takes("{");
        let name = self.name().unwrap_or_default();
        if has_brace && !self.takes("}") {
            self.at = start + 1;
            push_text(parts, "#");
            return Ok(None);
        }
        self.named(name, start, parts)
    }

    fn named(&mut self, name: &str, start: usize, parts: &mut Vec<Part>) -> Result<Option<End>, Fault> {
        let end = match name {
            "set" => {
                parts.push(self.set()?);
                None
            }
            "if" => {
                let part = self.deeper(Self::condition)?;
                parts.push(part);
                None
            }
            "foreach" => {
                let part = self.deeper(Self::each)?;
                parts.push(part);
                None
            }
            "break" | "stop" => {
                parts.push(if name == "break" { Part::Break } else { Part::Stop });
                None
            }
            "else" => Some(End::Else),
            "elseif" => Some(End::ElseIf),
            "end" => Some(End::Close),
            other if UNSERVED.contains(&other) => {
                return Err(self.fault(format!("the directive #{other} is not served")));
            }
            _ => {
                self.at = start + 1;
                push_text(parts, "#");
                return Ok(None);
            }
        };
        if end != Some(End::ElseIf) {
            self.line_end();
        }
        Ok(end)
    }

    /// A directive takes the rest of its line along, if nothing is there.
    fn line_end(&mut self) {
        let rest = self.rest();
        let bare = rest.trim_start_matches([' ', '\t', '\r']);
        if bare.starts_with('\n') {
            self.at += rest.len() - bare.len() + 1;
        }
    }

    fn set(&mut self) -> Result<Part, Fault> {
        self.expect("(")?;
        self.blanks();
        let Some((reference, _)) = self.reference()? else {
            return Err(self.fault("#set needs a variable, as in #set($a = 1)"));
        };
        self.expect("=")?;
        let value = expression::read(self)?;
        self.expect(")")?;
        Ok(Part::Set(reference, value))
    }

    fn condition(&mut self) -> Result<Part, Fault> {
        let mut branches = Vec::new();
        loop {
            self.expect("(")?;
            let condition = expression::read(self)?;
            self.expect(")")?;
            self.line_end();
            let (parts, end) = self.parts()?;
            branches.push((condition, parts));
            match end {
                End::ElseIf => {}
                End::Close => return Ok(Part::If(branches, Vec::new())),
                End::Else => {
                    let (otherwise, end) = self.parts()?;
                    if end != End::Close {
                        return Err(self.fault("#else has no #end"));
                    }
                    return Ok(Part::If(branches, otherwise));
                }
                End::Text => return Err(self.fault("#if has no #end")),
            }
        }
    }

    fn each(&mut self) -> Result<Part, Fault> {
        self.expect("(")?;
        self.blanks();
        let Some((Reference { name, .. }, _)) = self.reference()? else {
            return Err(self.fault("#foreach needs a variable, as in #foreach($item in $list)"));
        };
        self.expect("in")?;
        let list = expression::read(self)?;
        self.expect(")")?;
        self.line_end();
        let (body, end) = self.parts()?;
        if end != End::Close {
            return Err(self.fault("#foreach has no #end"));
        }
        Ok(Part::Each { name, list, body })
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        Some(Part::Text(last)) => last.push_str(text),
        _ => parts.push(Part::Text(text.to_owned())),
    }
}
