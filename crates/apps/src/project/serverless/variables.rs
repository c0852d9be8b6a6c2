//! Variables of a serverless.yml: `${self:custom.table}`, `${env:NAME, 'default'}`, `${file(./more.yml):key}`.
//!
//! They are filled in where a value is read, and what can't be found becomes an unknown value. So a variable that
//! nobody needs here does no harm. `${AWS::Region}` and `${Name}` are CloudFormation's, and are left as they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::findings::{Findings, shortened};
use super::super::intrinsics::ACCOUNT;
use super::super::node::{Budget, DEPTH_MAX, Fault, Kind, Member, Node, Size};
use super::super::place::{Misplaced, beneath};
use super::super::{FILE_BYTES_MAX, ProjectOptions, tree};
use super::dotenv;
use crate::folder::read_bytes;

/// Variables that lead to variables.
const NESTED_MAX: usize = 32;
/// Values within each other, through all that is referred to.
const LEVELS_MAX: usize = 3 * DEPTH_MAX;
/// Keys that are compared at the cost of one value.
const STEPS_OF_NODE: usize = 16;
/// Files of one project.
const FILES_MAX: usize = 64;

/// Fills in the variables of one project.
pub(super) struct Variables<'a> {
    pub(super) root: &'a Path,
    /// The whole file, as it was written.
    pub(super) tree: &'a Node,
    pub(super) options: &'a ProjectOptions,
    pub(super) stage: String,
    pub(super) region: String,
    /// Of a file beside this one, below those of the environment.
    pub(super) more: BTreeMap<String, String>,
    /// Files that were read, or why they can't be.
    files: BTreeMap<PathBuf, Result<Node, String>>,
    budget: Budget,
    nested: usize,
    levels: usize,
}

/// `Ok(None)` is what is not there: the next fallback counts.
type Found = Result<Option<Node>, Fault>;

/// A part of a text.
#[derive(Debug, PartialEq)]
enum Part<'a> {
    Literal(&'a str),
    /// What is between `${` and `}`.
    Variable(&'a str),
}

impl<'a> Variables<'a> {
    pub(super) fn new(root: &'a Path, tree: &'a Node, options: &'a ProjectOptions) -> Self {
        Self {
            root,
            tree,
            options,
            stage: options.stage.clone().unwrap_or_else(|| "dev".to_owned()),
            region: super::super::region(options, None),
            more: BTreeMap::new(),
            files: BTreeMap::new(),
            budget: Budget::new(),
            nested: 0,
            levels: 0,
        }
    }

    /// Files that were read, relative to the project's folder.
    pub(super) fn included(&self) -> Vec<PathBuf> {
        self.files.keys().cloned().collect()
    }

    /// Lets `${env:…}` see a file beside this one: that of the stage if it is there, and else that of all stages.
    ///
    /// # Errors
    /// What leads to `useDotenv` passes the bounds of a tree.
    pub(super) fn read_dotenv(&mut self, findings: &mut Findings) -> Result<(), Fault> {
        let Some(written) = self.tree.get("useDotenv") else { return Ok(()) };
        let used = self.fill(written)?;
        if findings.flag(&used, "useDotenv") != Some(true) {
            return Ok(());
        }
        for name in [format!(".env.{}", self.stage), ".env".to_owned()] {
            let path = match beneath(self.root, &name) {
                Ok(path) => path,
                Err(Misplaced::Missing) => continue,
                Err(Misplaced::Outside) => {
                    let what = format!("the file {} is not in the project's folder", shortened(&name));
                    findings.wrong("E0221", used.line, what, "move it into the project's folder");
                    return Ok(());
                }
            };
            let bytes = read_bytes(&self.root.join(&path)).ok().flatten();
            let text = bytes.filter(|bytes| bytes.len() <= FILE_BYTES_MAX).map(String::from_utf8);
            match text {
                Some(Ok(text)) => match dotenv::read(&text, &self.options.environment) {
                    Ok(more) => self.more = more,
                    Err(variable) => {
                        let what = format!("{} of {name} is too long", shortened(&variable));
                        findings.wrong("E0118", used.line, what, "write a shorter value");
                    }
                },
                Some(Err(_)) | None => {
                    let what = format!("the file {} can't be read as UTF-8", shortened(&name));
                    findings.wrong(
                        "E0118",
                        used.line,
                        what,
                        "save it as UTF-8, below 1 MiB, or take it away",
                    );
                }
            }
            self.files.insert(path, Ok(Node::text("", 1)));
            return Ok(());
        }
        Ok(())
    }

    /// The tree with all variables filled in.
    ///
    /// # Errors
    /// What variables repeat passes the bounds of a tree.
    pub(super) fn fill(&mut self, node: &Node) -> Result<Node, Fault> {
        let own = node.scalar().map_or(0, str::len);
        self.budget.take(Size { nodes: 1, text: own, height: 1 }, node.line)?;
        if self.levels >= LEVELS_MAX {
            return Ok(Node::unknown("what it leads to is nested too deeply", true, node.line));
        }
        self.levels += 1;
        let found = self.fill_level(node);
        self.levels -= 1;
        found
    }

    fn fill_level(&mut self, node: &Node) -> Result<Node, Fault> {
        let kind = match &node.kind {
            Kind::Scalar { text, plain } if text.contains("${") => {
                return self.scalar(text, *plain, node.line);
            }
            Kind::List(items) => {
                Kind::List(items.iter().map(|item| self.fill(item)).collect::<Result<_, _>>()?)
            }
            Kind::Map(members) => {
                let mut found = Vec::new();
                for Member { key, line, value } in members {
                    found.push(Member { key: key.clone(), line: *line, value: self.fill(value)? });
                }
                Kind::Map(found)
            }
            kind => kind.clone(),
        };
        Ok(Node { kind, line: node.line, reference: node.reference.clone() })
    }

    fn scalar(&mut self, text: &str, plain: bool, line: u32) -> Result<Node, Fault> {
        let Some(parts) = parts(text) else {
            return Ok(Node::unknown(format!("`{}` has a `${{` without `}}`", shortened(text)), true, line));
        };
        if let [Part::Variable(inner)] = parts.as_slice() {
            // Alone, it may be a map or a list, too.
            return self.variable(inner, line);
        }
        let mut whole = String::new();
        for part in parts {
            match part {
                Part::Literal(literal) => whole.push_str(literal),
                Part::Variable(inner) => {
                    let value = self.variable(inner, line)?;
                    match value.scalar() {
                        Some(text) => whole.push_str(text),
                        None if matches!(value.kind, Kind::Unknown(_)) => return Ok(value),
                        None => {
                            let why = format!(
                                "`${{{}}}` is {} in the middle of a text",
                                shortened(inner),
                                value.describe()
                            );
                            return Ok(Node::unknown(why, true, line));
                        }
                    }
                }
            }
        }
        self.budget.take(Size::of_text(&whole), line)?;
        Ok(Node::new(Kind::Scalar { text: whole, plain }, line))
    }

    /// The first of a variable and its fallbacks that has a value.
    fn variable(&mut self, inner: &str, line: u32) -> Result<Node, Fault> {
        if self.nested >= NESTED_MAX {
            return Ok(Node::unknown(
                format!("`${{{}}}` leads back to itself", shortened(inner)),
                true,
                line,
            ));
        }
        self.nested += 1;
        let found = self.alternatives(inner, line);
        self.nested -= 1;
        Ok(Node { line, ..found? })
    }

    fn alternatives(&mut self, inner: &str, line: u32) -> Result<Node, Fault> {
        let mut missing = None;
        for alternative in split_outside(inner, ',') {
            let alternative = alternative.trim();
            let found = match source_of(alternative) {
                Some(source) => self.source(source, line)?,
                None => Some(self.literal(alternative, line)?),
            };
            match found {
                // An error is not passed over: it is a mistake, and no value that is missing.
                Some(Node { kind: Kind::Unknown(unknown), .. }) if !unknown.is_error => {
                    missing = Some(unknown.why)
                }
                Some(node) => return Ok(node),
                None => {}
            }
        }
        Ok(match missing {
            Some(why) => Node::unknown(why, false, line),
            None => Node::unknown(format!("`${{{}}}` is not set anywhere", shortened(inner)), true, line),
        })
    }

    /// `'dev'`, `12`, `true`, or text with variables in it.
    fn literal(&mut self, text: &str, line: u32) -> Result<Node, Fault> {
        for quote in ['\'', '"'] {
            if let Some(inner) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
                return self.fill(&Node::text(inner, line));
            }
        }
        self.fill(&Node::plain(text, line))
    }

    fn source(&mut self, source: Source<'_>, line: u32) -> Found {
        let argument = match source.argument.map(|text| self.filled_text(text, line)).transpose()? {
            Some(Err(unknown)) => return Ok(Some(unknown)),
            Some(Ok(text)) => Some(text),
            None => None,
        };
        let address = match self.filled_text(source.address, line)? {
            Err(unknown) => return Ok(Some(unknown)),
            Ok(text) => text,
        };
        let text = |found: Option<String>| Ok(found.map(|text| Node::plain(text, line)));
        match source.name {
            "self" => self.of_self(&address),
            "opt" => text(match address.as_str() {
                "stage" => self.options.stage.clone(),
                "region" => self.options.region.clone(),
                other => self.options.parameters.get(other).cloned(),
            }),
            "env" => text(self.options.environment.get(&address).or(self.more.get(&address)).cloned()),
            "param" => self.parameter(&address, line),
            "sls" if address == "stage" => text(Some(self.stage.clone())),
            "sls" if address == "instanceId" => text(Some("ingle".to_owned())),
            "aws" if address == "accountId" => text(Some(ACCOUNT.to_owned())),
            "aws" if address == "region" => text(Some(self.region.clone())),
            "file" => self.file(argument.as_deref().unwrap_or_default(), &address, line),
            "strToBool" => text(
                argument.map(|text| matches!(text.to_ascii_lowercase().as_str(), "true" | "1").to_string()),
            ),
            "cf" | "ssm" | "s3" => {
                let why = format!("`{}:{}` is kept at AWS", source.name, shortened(&address));
                Ok(Some(Node::unknown(why, false, line)))
            }
            other => {
                let why = format!("`{}` is no source of variables that is known here", shortened(other));
                Ok(Some(Node::unknown(why, true, line)))
            }
        }
    }

    /// Text with variables in it; or the unknown value that it leads to.
    fn filled_text(&mut self, text: &str, line: u32) -> Result<Result<String, Node>, Fault> {
        if !text.contains("${") {
            return Ok(Ok(text.to_owned()));
        }
        let filled = self.fill(&Node::text(text, line))?;
        Ok(match filled.scalar() {
            Some(text) => Ok(text.to_owned()),
            None if matches!(filled.kind, Kind::Unknown(_)) => Err(filled),
            None => Err(Node::unknown("a map or a list can't be in an address", true, line)),
        })
    }

    fn of_self(&mut self, address: &str) -> Found {
        let keys: Vec<&str> = address.split('.').collect();
        let found = self.walk(self.tree, &keys)?;
        if found.is_none() {
            // What has a default without being written.
            let default = match address {
                "provider.stage" => Some(self.stage.clone()),
                "provider.region" => Some(self.region.clone()),
                _ => None,
            };
            return Ok(default.map(|text| Node::plain(text, 1)));
        }
        Ok(found)
    }

    /// Walks down by keys, through variables on the way.
    fn walk(&mut self, node: &Node, keys: &[&str]) -> Found {
        if node.scalar().is_some_and(|text| text.contains("${")) {
            let filled = self.fill(node)?;
            return match filled.kind {
                Kind::Unknown(_) => Ok(Some(filled)),
                _ if keys.is_empty() => Ok(Some(filled).filter(|node| !node.is_null())),
                _ => Ok(down(&filled, keys).cloned()),
            };
        }
        match keys {
            [] => Ok(if node.is_null() { None } else { Some(self.fill(node)?) }),
            [key, rest @ ..] => {
                // Looking for a key costs more in a large map.
                let steps = node.members().len() / STEPS_OF_NODE;
                self.budget.take(Size { nodes: steps, ..Size::default() }, node.line)?;
                match child(node, key) {
                    Some(child) => self.walk(child, rest),
                    None => Ok(None),
                }
            }
        }
    }

    fn parameter(&mut self, name: &str, line: u32) -> Found {
        if let Some(given) = self.options.parameters.get(name) {
            return Ok(Some(Node::plain(given.clone(), line)));
        }
        let stage = self.stage.clone();
        for section in [stage.as_str(), "default"] {
            if let Some(found) = self.walk(self.tree, &["params", section, name])? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// A value of another file of the project; the file itself without an address.
    fn file(&mut self, name: &str, address: &str, line: u32) -> Found {
        let failed = |why: String| Ok(Some(Node::unknown(why, true, line)));
        let path = match beneath(self.root, name.trim()) {
            Ok(path) => path,
            Err(Misplaced::Missing) => return Ok(None),
            Err(Misplaced::Outside) => {
                return failed(format!("the file {} is not in the project's folder", shortened(name)));
            }
        };
        if !self.files.contains_key(&path) {
            if self.files.len() >= FILES_MAX {
                return failed(format!("more than {FILES_MAX} files are read"));
            }
            let read = self.read_file(&path);
            self.files.insert(path.clone(), read);
        }
        let content = match self.files.get(&path) {
            Some(Ok(content)) => content.clone(),
            Some(Err(why)) => return failed(why.clone()),
            None => return Ok(None),
        };
        // The copy is made for each reference.
        self.budget.take(content.size(), line)?;
        let keys: Vec<&str> = if address.is_empty() { Vec::new() } else { address.split('.').collect() };
        // Lines of another file would lead astray.
        Ok(self.walk(&content, &keys)?.map(|found| found.moved_to(line)))
    }

    fn read_file(&self, path: &Path) -> Result<Node, String> {
        let shown = path.display();
        let name = path.to_string_lossy().into_owned();
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        let bytes = read_bytes(&self.root.join(path)).ok().flatten();
        let Some(bytes) = bytes else { return Err(format!("the file {shown} can't be read")) };
        match ending.as_deref() {
            Some("yml" | "yaml" | "json") => tree(&name, bytes)
                .map(|loaded| loaded.root)
                .map_err(|fault| format!("{shown}:{}: {}", fault.line, fault.what)),
            Some("js" | "cjs" | "mjs" | "ts") => {
                Err(format!("the file {shown} is a program, and is not run"))
            }
            _ => String::from_utf8(bytes)
                .map(|text| Node::text(text, 1))
                .map_err(|_error| format!("the file {shown} is no text")),
        }
    }
}

fn child<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    match &node.kind {
        Kind::List(items) => key.parse::<usize>().ok().and_then(|index| items.get(index)),
        _ => node.get(key),
    }
}

fn down<'a>(node: &'a Node, keys: &[&str]) -> Option<&'a Node> {
    keys.iter().try_fold(node, |node, key| child(node, key))
}

/// `name(argument):address`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Source<'a> {
    name: &'a str,
    argument: Option<&'a str>,
    address: &'a str,
}

/// Reads a source; `None` for anything else, such as `AWS::Region`, `Name`, `'dev'`.
fn source_of(text: &str) -> Option<Source<'_>> {
    let end =
        text.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return None;
    }
    if let Some(rest) = rest.strip_prefix('(') {
        let (argument, rest) = rest.rsplit_once(')')?;
        return Some(Source {
            name,
            argument: Some(argument),
            address: rest.strip_prefix(':').unwrap_or(""),
        });
    }
    let address = rest.strip_prefix(':').filter(|address| !address.starts_with(':'))?;
    Some(Source { name, argument: None, address })
}

/// A text with its variables; `None` if one does not end.
fn parts(text: &str) -> Option<Vec<Part<'_>>> {
    let mut parts = Vec::new();
    let (mut begin, mut at) = (0, 0);
    while let Some(start) = text[at..].find("${").map(|found| at + found) {
        let end = start + 2 + end_of_variable(&text[start + 2..])?;
        let inner = &text[start + 2..end];
        at = end + 1;
        if source_of(inner.trim()).is_some() {
            parts.extend((begin < start).then(|| Part::Literal(&text[begin..start])));
            parts.push(Part::Variable(inner.trim()));
            begin = at;
        }
    }
    parts.extend((begin < text.len()).then(|| Part::Literal(&text[begin..])));
    Some(parts)
}

/// Where the `}` is that belongs to a `${` in front of the text.
fn end_of_variable(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(index),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Splits at a separator that is in no quotes, brackets or variables.
fn split_outside(text: &str, separator: char) -> Vec<&str> {
    let (mut depth, mut quote, mut begin) = (0_usize, None, 0);
    let mut found = Vec::new();
    for (index, letter) in text.char_indices() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(letter),
            (None, '(' | '{') => depth += 1,
            (None, ')' | '}') => depth = depth.saturating_sub(1),
            (None, letter) if letter == separator && depth == 0 => {
                found.push(&text[begin..index]);
                begin = index + letter.len_utf8();
            }
            _ => {}
        }
    }
    found.push(&text[begin..]);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_their_variables() {
        let check = |text: &str, expected: &str| {
            assert_eq!(
                parts(text).map_or("unended".to_owned(), |parts| format!("{parts:?}")),
                expected,
                "{text}"
            );
        };
        check("plain", r#"[Literal("plain")]"#);
        check("${self:a}", r#"[Variable("self:a")]"#);
        check(
            "a-${self:b}-${env:C, 'd}'}x",
            r#"[Literal("a-"), Variable("self:b"), Literal("-"), Variable("env:C, 'd"), Literal("'}x")]"#,
        );
        check("${self:a.${opt:b, 'c'}}", r#"[Variable("self:a.${opt:b, 'c'}")]"#);
        check("${AWS::Region}-${Name}", r#"[Literal("${AWS::Region}-${Name}")]"#);
        check("${AWS::Region}${sls:stage}", r#"[Literal("${AWS::Region}"), Variable("sls:stage")]"#);
        check("${file(./a.yml):b.c}", r#"[Variable("file(./a.yml):b.c")]"#);
        check("a ${self:b", "unended");
    }

    #[test]
    fn alternatives_are_cut_outside_of_everything() {
        assert_eq!(
            split_outside("a, 'b,c', f(d,e), ${g:h, i}", ','),
            ["a", " 'b,c'", " f(d,e)", " ${g:h, i}"]
        );
        assert_eq!(
            source_of("file(./a.yml):b"),
            Some(Source { name: "file", argument: Some("./a.yml"), address: "b" })
        );
        assert_eq!(source_of("AWS::Region"), None);
        assert_eq!(source_of("'self:a'"), None);
    }
}
