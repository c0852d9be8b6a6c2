//! A file of settings as a tree in which everything knows its line: what YAML and JSON have in common.

use std::collections::HashSet;

use serde_json::{Map, Number, Value};

/// Lists and maps within each other; the readers recurse.
pub(super) const DEPTH_MAX: usize = 64;
/// Of one tree, with everything that aliases and references repeat.
const NODES_MAX: usize = 200_000;
/// Of one tree, in the same way; in bytes.
const TEXT_MAX: usize = 8 << 20;

/// A value and where it starts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Counted from 1.
    pub(super) line: u32,
    /// The resource of the template that the value was made from, by its logical id.
    pub(super) reference: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// `plain` is what has no quotes: it may be meant as a number, as true, or as nothing.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Member>),
    Unknown(Unknown),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member {
    pub(super) key: String,
    /// Line of the key.
    pub(super) line: u32,
    pub(super) value: Node,
}

/// A value that can't be known here.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Unknown {
    /// As half a sentence: `the parameter Table has no default`.
    pub(super) why: String,
    /// With it, the project is at fault. Without it, the value is left out.
    pub(super) is_error: bool,
}

/// Text that can't become a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) line: u32,
    pub(super) what: String,
}

impl Fault {
    pub(super) fn new(line: u32, what: impl Into<String>) -> Self {
        Self { line, what: what.into() }
    }
}

/// How much a tree may still grow.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    nodes: usize,
    text: usize,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { nodes: NODES_MAX, text: TEXT_MAX }
    }

    /// # Errors
    /// There is more than a file that a person wrote would ever have.
    pub(super) fn take(&mut self, size: Size, line: u32) -> Result<(), Fault> {
        let left = self.nodes.checked_sub(size.nodes).zip(self.text.checked_sub(size.text));
        let Some((nodes, text)) = left else {
            let what = format!(
                "with all that is repeated, there are more than {NODES_MAX} values, or more than {} MiB of text",
                TEXT_MAX >> 20
            );
            return Err(Fault::new(line, what));
        };
        *self = Self { nodes, text };
        Ok(())
    }
}

/// Of a tree, with all below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) nodes: usize,
    /// In bytes.
    pub(super) text: usize,
    /// Levels, with its own.
    pub(super) height: usize,
}

impl Size {
    pub(super) fn of_text(text: &str) -> Self {
        Self { nodes: 1, text: text.len(), height: 1 }
    }
}

impl Node {
    pub(super) fn new(kind: Kind, line: u32) -> Self {
        Self { kind, line, reference: None }
    }

    /// As if it stood in quotes.
    pub(super) fn text(text: impl Into<String>, line: u32) -> Self {
        Self::new(Kind::Scalar { text: text.into(), plain: false }, line)
    }

    /// As if it stood there without quotes.
    pub(super) fn plain(text: impl Into<String>, line: u32) -> Self {
        Self::new(Kind::Scalar { text: text.into(), plain: true }, line)
    }

    pub(super) fn unknown(why: impl Into<String>, is_error: bool, line: u32) -> Self {
        Self::new(Kind::Unknown(Unknown { why: why.into(), is_error }), line)
    }

    /// A map.
    ///
    /// # Errors
    /// A key is there twice: one of the two would be silently without effect.
    pub(super) fn map(members: Vec<Member>, line: u32) -> Result<Self, Fault> {
        let mut seen = HashSet::new();
        if let Some(double) = members.iter().find(|member| !seen.insert(member.key.as_str())) {
            return Err(Fault::new(double.line, format!("the key `{}` is there twice", double.key)));
        }
        Ok(Self::new(Kind::Map(members), line))
    }

    pub(super) fn members(&self) -> &[Member] {
        match &self.kind {
            Kind::Map(members) => members,
            _ => &[],
        }
    }

    pub(super) fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::List(items) => items,
            _ => &[],
        }
    }

    pub(super) fn member(&self, key: &str) -> Option<&Member> {
        self.members().iter().find(|member| member.key == key)
    }

    /// A member that has a value.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.member(key).map(|member| &member.value).filter(|value| !value.is_null())
    }

    /// Walks down by keys.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The text of a scalar, whatever it may be meant as.
    pub(super) fn scalar(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true } if is_null(text))
    }

    pub(super) fn flag(&self) -> Option<bool> {
        match self.scalar()?.to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// A size that does not count what text there is twice.
    pub(super) fn size(&self) -> Size {
        let mut size = match &self.kind {
            Kind::Scalar { text, .. } => return Size::of_text(text),
            Kind::Unknown(_) => return Size::of_text(""),
            Kind::List(_) | Kind::Map(_) => Size { nodes: 1, text: 0, height: 0 },
        };
        let keys = self.members().iter().map(|member| member.key.len()).sum::<usize>();
        for child in self.items().iter().chain(self.members().iter().map(|member| &member.value)) {
            let below = child.size();
            size.nodes += below.nodes;
            size.text += below.text;
            size.height = size.height.max(below.height);
        }
        Size { text: size.text + keys, height: size.height + 1, ..size }
    }

    /// A value below, or this one, that can't be known.
    pub(super) fn unknown_within(&self) -> Option<&Node> {
        match &self.kind {
            Kind::Scalar { .. } => None,
            Kind::Unknown(_) => Some(self),
            Kind::List(items) => items.iter().find_map(Node::unknown_within),
            Kind::Map(members) => members.iter().find_map(|member| member.value.unknown_within()),
        }
    }

    /// The same tree as something that stands at another line: of another file.
    pub(super) fn moved_to(mut self, line: u32) -> Self {
        self.line = line;
        match &mut self.kind {
            Kind::Scalar { .. } | Kind::Unknown(_) => {}
            Kind::List(items) => {
                for item in items {
                    *item = std::mem::replace(item, Node::plain("", line)).moved_to(line);
                }
            }
            Kind::Map(members) => {
                for member in members {
                    member.line = line;
                    member.value = std::mem::replace(&mut member.value, Node::plain("", line)).moved_to(line);
                }
            }
        }
        self
    }

    /// The same tree with the booleans of YAML 1.1 as `true` and `false`: `yes`, `No`, `ON`. Keys stay as they are.
    pub(super) fn with_old_booleans(mut self) -> Self {
        match &mut self.kind {
            Kind::Scalar { text, plain: true } => {
                if let Some(flag) = old_boolean(text) {
                    *text = flag.to_string();
                }
            }
            Kind::Scalar { .. } | Kind::Unknown(_) => {}
            Kind::List(items) => {
                for item in items {
                    *item = std::mem::replace(item, Node::plain("", 1)).with_old_booleans();
                }
            }
            Kind::Map(members) => {
                for member in members {
                    member.value =
                        std::mem::replace(&mut member.value, Node::plain("", 1)).with_old_booleans();
                }
            }
        }
        self
    }

    /// What kind of value this is, for messages; never the value, which may be a secret.
    pub(super) fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar { .. } if self.is_null() => "empty",
            Kind::Scalar { .. } => "a text or a number",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
            Kind::Unknown(_) => "not known",
        }
    }

    /// As JSON. What has no quotes is a number, true, false or null if it looks like it.
    pub(super) fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Scalar { text, plain: false } => Value::String(text.clone()),
            Kind::Scalar { text, plain: true } => plain_json(text),
            Kind::List(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Kind::Map(members) => {
                let members = members.iter().map(|member| (member.key.clone(), member.value.to_json()));
                Value::Object(members.collect::<Map<_, _>>())
            }
            Kind::Unknown(_) => Value::Null,
        }
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// A boolean as readers of YAML 1.1 take it (<https://yaml.org/type/bool.html>): in small letters, in large ones, or with the first
/// one large. The `y` and `n` of that page are texts to them.
fn old_boolean(text: &str) -> Option<bool> {
    let small = text.to_ascii_lowercase();
    let rest = text.get(1..)?;
    let is_usual =
        text == small || rest == small.get(1..)? || !text.bytes().any(|byte| byte.is_ascii_lowercase());
    match small.as_str() {
        "true" | "yes" | "on" if is_usual => Some(true),
        "false" | "no" | "off" if is_usual => Some(false),
        _ => None,
    }
}

fn plain_json(text: &str) -> Value {
    match text {
        text if is_null(text) => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        text => text.parse::<Number>().map_or_else(|_| Value::String(text.to_owned()), Value::Number),
    }
}
