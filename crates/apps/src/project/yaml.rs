//! From text to a tree: YAML 1.2 with CloudFormation's short forms (`!Ref x`), anchors and merge keys; and JSON.

use std::collections::{BTreeSet, HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::node::{Budget, DEPTH_MAX, Fault, Kind, Member, Node, Size};
use crate::json_place;

/// Keys that are there twice and are listed.
const DOUBLES_MAX: usize = 1000;
/// What the parser says of a line within brackets that is not further to the right than the key before them.
const OUTDENTED: [&str; 2] = ["invalid indentation", "invalid indentation in flow construct"];
/// Text that is parsed anew because of such lines, in bytes.
const ANEW_BYTES_MAX: usize = 4 << 20;
/// Spaces that put such a line right.
const INDENT_MAX: usize = 512;

/// A file that was read.
#[derive(Debug, PartialEq)]
pub(super) struct Loaded {
    pub(super) root: Node,
    /// Keys that a map has again further down, with their lines. The last one counts, as for CloudFormation.
    pub(super) doubles: Vec<(u32, String)>,
}

/// Reads one document.
///
/// YAML 1.2 wants what is in brackets to be indented, the closing one, too. People don't do so, and the readers of SAM and
/// of the Serverless Framework let them; so such lines are moved to the right.
///
/// # Errors
/// The first place that can't be read, or where the bounds of a tree are passed.
pub(super) fn parse(text: &str) -> Result<Loaded, Fault> {
    parse_anew(text, ANEW_BYTES_MAX)
}

fn parse_anew(text: &str, mut left: usize) -> Result<Loaded, Fault> {
    let mut moved: Vec<&str> = Vec::new();
    let mut shifts: BTreeSet<usize> = BTreeSet::new();
    let mut found = parse_once(text);
    while let Err(fault) = &found
        && OUTDENTED.contains(&fault.what.as_str())
    {
        let line = usize::try_from(fault.line).unwrap_or(0).saturating_sub(1);
        if moved.is_empty() {
            moved = text.split('\n').collect();
        }
        let indent = moved.iter().map(|line| line.len() - line.trim_start().len()).max().unwrap_or(0) + 1;
        let longer = text.len() + (shifts.len() + 1) * indent;
        let (Some(rest), true) = (left.checked_sub(longer), indent <= INDENT_MAX) else { break };
        // A line that was moved already is wrong in another way.
        if !shifts.insert(line) {
            break;
        }
        left = rest;
        let spaces = " ".repeat(indent);
        let lines = moved.iter().enumerate();
        let lines =
            lines.map(|(number, line)| [if shifts.contains(&number) { &spaces } else { "" }, *line].concat());
        found = parse_once(&lines.collect::<Vec<_>>().join("\n"));
    }
    found
}

fn parse_once(text: &str) -> Result<Loaded, Fault> {
    let mut loader = Loader {
        open: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        doubles: Vec::new(),
        budget: Budget::new(),
    };
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|error| Fault::new(line_number(error.marker().line()), error.info()))?;
        loader.event(event, line_number(span.start.line()))?;
    }
    let root = loader.root.unwrap_or_else(|| Node::plain("", 1));
    Ok(Loaded { root, doubles: loader.doubles })
}

/// Reads one JSON value into the same kind of tree.
///
/// # Errors
/// As [`parse`].
pub(super) fn parse_json(text: &str) -> Result<Loaded, Fault> {
    let document = json_place::read(text).map_err(|error| Fault::new(error.line, error.message))?;
    let mut doubles = Vec::new();
    let root = from_json(&document.root, DEPTH_MAX, &mut doubles)?;
    Ok(Loaded { root, doubles })
}

fn from_json(node: &json_place::Node, depth: usize, doubles: &mut Vec<(u32, String)>) -> Result<Node, Fault> {
    let line = node.line;
    let Some(depth) = depth.checked_sub(1) else { return Err(too_deep(line)) };
    Ok(match &node.kind {
        json_place::Kind::Null => Node::plain("null", line),
        json_place::Kind::Bool(value) => Node::plain(value.to_string(), line),
        json_place::Kind::Number(text) => Node::plain(text.clone(), line),
        json_place::Kind::Text(text) => Node::text(text.clone(), line),
        json_place::Kind::List(items) => {
            let items = items.iter().map(|item| from_json(item, depth, doubles)).collect::<Result<_, _>>()?;
            Node::new(Kind::List(items), line)
        }
        json_place::Kind::Object(members) => {
            let mut found = Vec::new();
            for json_place::Member { key, line, value } in members {
                let value = from_json(value, depth, doubles)?;
                found.push(Member { key: key.clone(), line: *line, value });
            }
            Node::new(Kind::Map(distinct(found, doubles)), line)
        }
    })
}

fn too_deep(line: u32) -> Fault {
    Fault::new(line, format!("lists and maps are nested more than {DEPTH_MAX} levels deep"))
}

fn line_number(line: usize) -> u32 {
    u32::try_from(line.max(1)).unwrap_or(u32::MAX)
}

struct Loader {
    /// Lists and maps that have begun.
    open: Vec<Open>,
    /// What has a name; its size is kept, so that an alias costs what it repeats.
    anchors: HashMap<usize, (Node, Size)>,
    root: Option<Node>,
    doubles: Vec<(u32, String)>,
    budget: Budget,
}

struct Open {
    line: u32,
    anchor: usize,
    /// The function of a short form.
    function: Option<String>,
    size: Size,
    values: Values,
}

enum Values {
    List(Vec<Node>),
    Map {
        members: Vec<Member>,
        /// A key that waits for its value.
        key: Option<(String, u32)>,
        merged: Vec<Node>,
    },
}

impl Loader {
    fn event(&mut self, event: Event<'_>, line: u32) -> Result<(), Fault> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(Fault::new(line, "there is a second document behind `---`"))
            }
            Event::DocumentStart(_) => Ok(()),
            Event::Alias(anchor) => {
                let Some((node, size)) = self.anchors.get(&anchor) else {
                    return Err(Fault::new(line, "an alias names what it stands in itself"));
                };
                let size = *size;
                self.budget.take(size, line)?;
                let node = node.clone();
                self.add(node, size)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let size = Size::of_text(&text);
                self.budget.take(size, line)?;
                let is_text =
                    tag.as_deref().is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
                let plain = style == ScalarStyle::Plain && !is_text;
                let node = Node::new(Kind::Scalar { text: text.into_owned(), plain }, line);
                self.complete(node, size, anchor, function_of(tag.as_deref()))
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(Values::List(Vec::new()), anchor, tag.as_deref(), line)
            }
            Event::MappingStart(anchor, tag) => {
                let values = Values::Map { members: Vec::new(), key: None, merged: Vec::new() };
                self.open(values, anchor, tag.as_deref(), line)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let node = match open.values {
                    Values::List(items) => Node::new(Kind::List(items), open.line),
                    Values::Map { members, merged, .. } => {
                        merge(distinct(members, &mut self.doubles), merged, open.line)?
                    }
                };
                let size = Size { nodes: open.size.nodes + 1, height: open.size.height + 1, ..open.size };
                self.complete(node, size, open.anchor, open.function)
            }
        }
    }

    fn open(&mut self, values: Values, anchor: usize, tag: Option<&Tag>, line: u32) -> Result<(), Fault> {
        if self.open.len() >= DEPTH_MAX {
            return Err(too_deep(line));
        }
        self.budget.take(Size { nodes: 1, ..Size::default() }, line)?;
        self.open.push(Open { line, anchor, function: function_of(tag), size: Size::default(), values });
        Ok(())
    }

    /// A value that is whole: a short form becomes its long one, a name is noted.
    fn complete(
        &mut self,
        node: Node,
        mut size: Size,
        anchor: usize,
        function: Option<String>,
    ) -> Result<(), Fault> {
        let node = match function {
            None => node,
            Some(function) => {
                let line = node.line;
                // What has a tag is a text, and neither a number nor a boolean.
                let node = match node.kind {
                    Kind::Scalar { text, .. } => Node::text(text, line),
                    _ => node,
                };
                size =
                    Size { nodes: size.nodes + 1, text: size.text + function.len(), height: size.height + 1 };
                Node::new(Kind::Map(vec![Member { key: function, line, value: node }]), line)
            }
        };
        if anchor != 0 {
            // The copy costs what an alias of it would.
            self.budget.take(size, node.line)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        self.add(node, size)
    }

    fn add(&mut self, node: Node, size: Size) -> Result<(), Fault> {
        let line = node.line;
        if self.open.len() + size.height > DEPTH_MAX + 1 {
            return Err(too_deep(line));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.size.nodes += size.nodes;
        open.size.text += size.text;
        open.size.height = open.size.height.max(size.height);
        match &mut open.values {
            Values::List(items) => items.push(node),
            Values::Map { members, key, merged } => match key.take() {
                Some((name, _)) if name == "<<" => merged.push(node),
                Some((name, line)) => members.push(Member { key: name, line, value: node }),
                None => {
                    let Kind::Scalar { text, .. } = node.kind else {
                        return Err(Fault::new(line, format!("a key is {}", node.describe())));
                    };
                    *key = Some((text, line));
                }
            },
        }
        Ok(())
    }
}

/// `<<`: what the map does not have itself is taken from others, the first that has it wins (YAML 1.1, merge keys).
fn merge(mut members: Vec<Member>, merged: Vec<Node>, line: u32) -> Result<Node, Fault> {
    let mut known: HashSet<String> = HashSet::new();
    if !merged.is_empty() {
        known.extend(members.iter().map(|member| member.key.clone()));
    }
    for node in merged {
        let line = node.line;
        let sources = match node.kind {
            Kind::List(items) => items,
            _ => vec![node],
        };
        for source in sources {
            let Kind::Map(others) = source.kind else {
                return Err(Fault::new(line, format!("`<<` takes a map, and this is {}", source.describe())));
            };
            members.extend(others.into_iter().filter(|member| known.insert(member.key.clone())));
        }
    }
    Ok(Node::new(Kind::Map(members), line))
}

/// Of members with one key the last. Such files are not refused, as CloudFormation doesn't.
fn distinct(members: Vec<Member>, doubles: &mut Vec<(u32, String)>) -> Vec<Member> {
    let mut seen = HashSet::new();
    let mut kept = Vec::new();
    for member in members.into_iter().rev() {
        if seen.insert(member.key.clone()) {
            kept.push(member);
        } else if doubles.len() < DOUBLES_MAX {
            doubles.push((member.line, member.key));
        }
    }
    kept.reverse();
    kept
}

/// `!GetAtt` is `Fn::GetAtt`, `!Ref` is `Ref`. Tags of YAML itself are none.
fn function_of(tag: Option<&Tag>) -> Option<String> {
    let tag = tag.filter(|tag| tag.handle == "!" && !tag.suffix.is_empty())?;
    Some(match tag.suffix.as_str() {
        name @ ("Ref" | "Condition") => name.to_owned(),
        name => format!("Fn::{name}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree as JSON, or line and words of what is wrong.
    fn shown(text: &str) -> String {
        match parse(text) {
            Ok(loaded) => loaded.root.to_json().to_string(),
            Err(fault) => format!("{}: {}", fault.line, fault.what),
        }
    }

    #[test]
    fn values_are_as_they_are_written() {
        let text = "a: 1\nb: '1'\nc: [true, null, ~, 1.5, -2, x y]\nd:\n  - {e: }\n";
        assert_eq!(shown(text), r#"{"a":1,"b":"1","c":[true,null,null,1.5,-2,"x y"],"d":[{"e":null}]}"#);
        assert_eq!(shown(""), "null");
        assert_eq!(shown("a: |\n  one\n  two\nb: >-\n  one\n  two\n"), r#"{"a":"one\ntwo\n","b":"one two"}"#);
        assert_eq!(shown("a: !!str 1"), r#"{"a":"1"}"#);
    }

    #[test]
    fn short_forms_become_long_ones() {
        let text = "a: !Ref Queue\nb: !GetAtt Queue.Arn\nc: !Join ['-', [x, !Ref Y]]\nd: !If [Is, {e: 1}, !Ref AWS::NoValue]";
        let expected = concat!(
            r#"{"a":{"Ref":"Queue"},"b":{"Fn::GetAtt":"Queue.Arn"},"c":{"Fn::Join":["-",["x",{"Ref":"Y"}]]},"#,
            r#""d":{"Fn::If":["Is",{"e":1},{"Ref":"AWS::NoValue"}]}}"#
        );
        assert_eq!(shown(text), expected);
        assert_eq!(
            shown("- !Condition Is\n- !Equals [a, b]"),
            r#"[{"Condition":"Is"},{"Fn::Equals":["a","b"]}]"#
        );
    }

    #[test]
    fn anchors_and_merge_keys_are_filled_in() {
        let text =
            "base: &base {a: 1, b: 2}\none: {<<: *base, b: 3}\ntwo:\n  <<: [{c: 4}, *base]\nlist: [*base]";
        let expected = concat!(
            r#"{"base":{"a":1,"b":2},"one":{"b":3,"a":1},"two":{"c":4,"a":1,"b":2},"#,
            r#""list":[{"a":1,"b":2}]}"#
        );
        assert_eq!(shown(text), expected);
        assert_eq!(shown("a: {<<: 1}"), "1: `<<` takes a map, and this is a text or a number");
    }

    #[test]
    fn everything_knows_its_line() {
        let node = parse("# comment\na:\n  b: 1\n  c:\n    - x\n    - y: !Ref z\n").unwrap().root;
        let b = &node.at(&["a"]).unwrap().member("b").unwrap();
        assert_eq!((b.line, b.value.line), (3, 3));
        let y = node.at(&["a", "c"]).unwrap().items()[1].member("y").unwrap();
        assert_eq!((y.line, y.value.line, node.at(&["a", "c"]).unwrap().items()[0].line), (6, 6, 5));
    }

    #[test]
    fn what_is_wrong_has_its_line() {
        assert_eq!(shown("a: 1\n---\nb: 2\n"), "2: there is a second document behind `---`");
        assert_eq!(shown("? [a]\n: 1\n"), "1: a key is a list");
        assert_eq!(shown("a: &x [*x]"), "1: an alias names what it stands in itself");
        for (text, line) in [("a: [1\nb: 2", 2), ("a: 'b", 1), ("a:\n\t- b", 2), ("a: b: c", 1), ("a: *x", 1)]
        {
            let fault = parse(text).expect_err(text);
            assert!(fault.line >= 1 && fault.line <= line + 1, "{text}: {fault:?}");
        }
    }

    /// CloudFormation takes the last, and so does Ingle; but says it.
    #[test]
    fn of_two_values_of_a_key_the_last_counts() {
        let check = |loaded: Loaded| {
            assert_eq!(loaded.root.to_json().to_string(), r#"{"b":{"c":4},"a":3}"#);
            assert_eq!(loaded.doubles, [(2, "c".to_owned()), (1, "a".to_owned())]);
        };
        check(parse("a: 1\nb: {c: 2,\nc: 4}\na: 3\n").unwrap());
        check(parse_json("{\"a\": 1,\n\"b\": {\"c\": 2,\n\"c\": 4},\n\"a\": 3}").unwrap());
    }

    /// As the readers of SAM and of the Serverless Framework take it.
    #[test]
    fn brackets_need_no_indentation() {
        let text = "a:\n  b: [\n    x,\n  ]\n  c: {\n  d: 1,\n\"e\": [\n{f: !Ref g}\n]\n}\nh: i\n";
        assert_eq!(shown(text), r#"{"a":{"b":["x"],"c":{"d":1,"e":[{"f":{"Ref":"g"}}]}},"h":"i"}"#);
        let root = parse(text).unwrap().root;
        assert_eq!(
            (root.at(&["a", "c"]).unwrap().member("e").unwrap().line, root.member("h").unwrap().line),
            (7, 11)
        );
        // Block maps are as strict as ever, and the search for an end has one.
        assert!(shown("a:\n    b: 1\n  c: 2\n").starts_with("3: "), "{}", shown("a:\n    b: 1\n  c: 2\n"));
        let long = format!("a:\n  b: [\n{}  ]\n", "x,\n".repeat(100));
        assert!(parse_anew(&long, long.len() * 10).unwrap_err().what.starts_with("invalid indentation"));
        assert!(parse_anew(&long, long.len() * 1000).is_ok());
    }

    /// A few hundred bytes must not become gigabytes.
    #[test]
    fn bombs_are_refused() {
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..30 {
            let before = level - 1;
            let aliases = vec![format!("*a{before}"); 10].join(", ");
            laughs.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        assert!(shown(&laughs).contains("more than 200000 values"), "{}", shown(&laughs));
        let long = "x".repeat(1 << 20);
        let aliases = vec!["*a"; 100].join(", ");
        let found = shown(&format!("a: &a {long}\nb: [{aliases}]"));
        assert!(found.starts_with("2: with all that is repeated"), "{}", &found[..50]);
        // Each level is one deeper than the alias that it repeats.
        let mut deep = "a0: &a0 [x]\n".to_owned();
        for level in 1..100 {
            deep.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
        }
        assert!(shown(&deep).contains("more than 64 levels"), "{}", shown(&deep));
    }

    #[test]
    fn depth_has_a_bound() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&nested(DEPTH_MAX)).is_ok());
        for depth in [DEPTH_MAX + 1, 1000, 100_000] {
            assert!(parse(&nested(depth)).is_err(), "{depth}");
        }
        let blocks: String = (0..200).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
        assert!(shown(&blocks).contains("more than 64 levels"), "{}", shown(&blocks));
        assert!(parse_json(&nested(DEPTH_MAX + 1)).is_err());
        assert_eq!(parse_json("{\"a\": [1, \"1\"]}").unwrap(), parse("a: [1, '1']").unwrap());
    }
}
