//! CloudFormation's functions (`Ref`, `Fn::Sub`, …), evaluated as far as a template says by itself what they give.
//!
//! A whole tree is evaluated at once. What can't be known becomes an unknown value in the result, which is a finding
//! only if somebody reads it. What AWS would make (accounts, names, ARNs) is as Ingle has it: account 000000000000.

use std::collections::BTreeMap;

use super::node::{Budget, DEPTH_MAX, Fault, Kind, Member, Node, Size};
use super::resources;

mod made;
mod texts;

pub(super) use made::is_made;

/// Functions within functions, through conditions and names of resources.
const NESTED_MAX: usize = 32;
/// Values within each other, through all that is referred to: what is on the stack at once.
const LEVELS_MAX: usize = 3 * DEPTH_MAX;

/// Stands for an account where there is none.
pub(super) const ACCOUNT: &str = "000000000000";

/// What a template's functions can refer to.
pub(super) struct Scope<'a> {
    /// The template's `Resources`, by logical id.
    pub(super) resources: BTreeMap<&'a str, &'a Node>,
    /// The template's `Parameters`.
    pub(super) parameters: Option<&'a Node>,
    pub(super) mappings: Option<&'a Node>,
    pub(super) conditions: Option<&'a Node>,
    /// Values that the caller has for parameters.
    pub(super) given: &'a BTreeMap<String, String>,
    pub(super) region: &'a str,
    pub(super) stack: &'a str,
}

/// Evaluates trees of one template.
pub(super) struct Evaluator<'a> {
    pub(super) scope: Scope<'a>,
    /// `Globals` of a template of SAM, as they stand there.
    pub(super) globals: Option<&'a Node>,
    budget: Budget,
    /// Conditions that were evaluated.
    conditions: BTreeMap<String, Truth>,
    nested: usize,
    levels: usize,
}

/// Whether a condition is met, or as half a sentence why nobody knows. Then nobody knows of its negation, either.
pub(super) type Truth = Result<bool, String>;

/// `None` is `AWS::NoValue`.
type Evaluated = Result<Option<Node>, Fault>;

impl<'a> Evaluator<'a> {
    pub(super) fn new(scope: Scope<'a>) -> Self {
        Self {
            scope,
            globals: None,
            budget: Budget::new(),
            conditions: BTreeMap::new(),
            nested: 0,
            levels: 0,
        }
    }

    /// The tree with all functions replaced by what they give.
    ///
    /// # Errors
    /// What references repeat passes the bounds of a tree.
    pub(super) fn evaluate(&mut self, node: &Node) -> Evaluated {
        let own = node.scalar().map_or(0, str::len);
        self.budget.take(Size { nodes: 1, text: own, height: 1 }, node.line)?;
        if self.levels >= LEVELS_MAX {
            return Ok(unknown("what it refers to is nested too deeply", node.line));
        }
        self.levels += 1;
        let found = self.evaluate_level(node);
        self.levels -= 1;
        found
    }

    fn evaluate_level(&mut self, node: &Node) -> Evaluated {
        if let [member] = node.members()
            && is_function(&member.key)
        {
            return self.function(&member.key, &member.value, node.line);
        }
        let kind = match &node.kind {
            Kind::List(items) => {
                let mut found = Vec::new();
                for item in items {
                    found.extend(self.evaluate(item)?);
                }
                Kind::List(found)
            }
            Kind::Map(members) => {
                let mut found = Vec::new();
                for member in members {
                    let value = self.evaluate(&member.value)?;
                    found.extend(value.map(|value| Member {
                        value,
                        key: member.key.clone(),
                        line: member.line,
                    }));
                }
                Kind::Map(found)
            }
            kind => kind.clone(),
        };
        Ok(Some(Node { kind, line: node.line, reference: node.reference.clone() }))
    }

    fn function(&mut self, name: &str, argument: &Node, line: u32) -> Evaluated {
        if self.nested >= NESTED_MAX {
            return Ok(unknown("what it refers to leads back to itself", line));
        }
        self.nested += 1;
        let found = self.call(name, argument, line);
        self.nested -= 1;
        let Some(mut node) = found? else { return Ok(None) };
        // A finding about the value is a finding about this place.
        node.line = line;
        Ok(Some(node))
    }

    fn call(&mut self, name: &str, argument: &Node, line: u32) -> Evaluated {
        match name {
            "Ref" => match argument.scalar() {
                Some(name) => self.reference(name, line),
                None => Ok(malformed("Ref", line)),
            },
            "Fn::GetAtt" => {
                let path = match argument.items() {
                    [] => argument.scalar().map(str::to_owned),
                    items => items
                        .iter()
                        .map(Node::scalar)
                        .collect::<Option<Vec<_>>>()
                        .map(|parts| parts.join(".")),
                };
                let path = path.as_deref().and_then(|path| path.split_once('.'));
                path.map_or_else(
                    || Ok(malformed(name, line)),
                    |(id, attribute)| self.attribute(id, attribute, line),
                )
            }
            "Fn::Sub" => self.substitute(argument, line),
            "Fn::Join" => self.join(argument, line),
            "Fn::If" => self.choose(argument, line),
            "Fn::FindInMap" => self.find_in_map(argument, line),
            "Fn::Select" => self.select(argument, line),
            "Fn::Split" => self.split(argument, line),
            "Fn::Base64" => self.base64(argument, line),
            "Fn::Length" => self.length(argument, line),
            "Fn::ToJsonString" => self.json_text(argument, line),
            "Fn::ImportValue" => Ok(unknown("it is exported by another stack", line)),
            other => Ok(unknown(&format!("`{other}` is not evaluated here"), line)),
        }
    }

    fn reference(&mut self, name: &str, line: u32) -> Evaluated {
        let region = self.scope.region;
        let text = match name {
            "AWS::NoValue" => return Ok(None),
            "AWS::Region" => region.to_owned(),
            "AWS::AccountId" => ACCOUNT.to_owned(),
            "AWS::Partition" => "aws".to_owned(),
            "AWS::URLSuffix" => "amazonaws.com".to_owned(),
            "AWS::StackName" => self.scope.stack.to_owned(),
            "AWS::StackId" => {
                format!("arn:aws:cloudformation:{region}:{ACCOUNT}:stack/{}/ingle", self.scope.stack)
            }
            _ if self.scope.resources.contains_key(name) => return self.attribute(name, "", line),
            _ => return self.parameter(name, line),
        };
        Ok(Some(Node::text(text, line)))
    }

    fn parameter(&mut self, name: &str, line: u32) -> Evaluated {
        let Some(parameter) = self.scope.parameters.and_then(|parameters| parameters.get(name)) else {
            let made = self.made(name, "", line)?;
            let why =
                || Node::unknown(format!("the template has no resource or parameter `{name}`"), false, line);
            return Ok(Some(made.unwrap_or_else(why)));
        };
        let kind = parameter.get("Type").and_then(Node::scalar).unwrap_or("String");
        let given = self.scope.given.get(name);
        let text = match (given, parameter.member("Default").map(|member| &member.value)) {
            (Some(given), _) => given.clone(),
            (None, _) if kind.starts_with("AWS::SSM::") => {
                let why =
                    format!("the parameter {name} is kept in AWS Systems Manager; {}", how_to_give(name));
                return Ok(unknown(&why, line));
            }
            (None, Some(default)) => match default.scalar() {
                Some(text) => text.to_owned(),
                None => return Ok(malformed("Default", line)),
            },
            (None, None) => {
                let why = format!("the parameter {name} has no default; {}", how_to_give(name));
                return Ok(unknown(&why, line));
            }
        };
        self.budget.take(Size::of_text(&text), line)?;
        if kind != "CommaDelimitedList" && !kind.starts_with("List<") {
            return Ok(Some(Node::plain(text, line)));
        }
        let items: Vec<Node> = text.split(',').map(|item| Node::plain(item.trim(), line)).collect();
        self.budget.take(Size { nodes: items.len(), ..Size::default() }, line)?;
        Ok(Some(Node::new(Kind::List(items), line)))
    }

    /// An attribute of a resource; none is what `Ref` gives.
    fn attribute(&mut self, id: &str, attribute: &str, line: u32) -> Evaluated {
        let Some(resource) = self.scope.resources.get(id).copied() else {
            let made = self.made(id, attribute, line)?;
            let why = || Node::unknown(format!("the template has no resource `{id}`"), false, line);
            return Ok(Some(made.unwrap_or_else(why)));
        };
        let Some(kind) = resources::Kind::of(resource) else {
            let kind = resource.get("Type").and_then(Node::scalar);
            let kind = kind.map_or_else(
                || "not known here".to_owned(),
                |kind| format!("of type {kind}, which Ingle does not have"),
            );
            return Ok(unknown(&format!("{id} is {kind}"), line));
        };
        let name = match self.name(id, resource, kind)? {
            Ok(name) => name,
            Err(why) => return Ok(unknown(&why, line)),
        };
        let place = resources::Place { region: self.scope.region, account: ACCOUNT };
        let own = kind.attribute(attribute, &name, place);
        let Some(text) = own.map_or_else(|| self.referable(id, attribute), |text| Ok(Some(text)))? else {
            return Ok(unknown(&format!("`{attribute}` of {id} is not known here"), line));
        };
        self.budget.take(Size::of_text(&text), line)?;
        Ok(Some(Node { reference: Some(id.to_owned()), ..Node::text(text, line) }))
    }

    /// The name that a resource has, or why it can't be known.
    pub(super) fn name(
        &mut self,
        id: &str,
        resource: &Node,
        kind: resources::Kind,
    ) -> Result<Result<String, String>, Fault> {
        let properties = resource.get("Properties");
        let given = properties.and_then(|properties| properties.get(kind.name_property()));
        let Some(given) = given else {
            let is_fifo = properties.and_then(|all| all.get("FifoQueue")).and_then(Node::flag) == Some(true);
            return Ok(Ok(kind.default_name(id, is_fifo)));
        };
        // Names may refer to names.
        if self.nested >= NESTED_MAX {
            return Ok(Err(format!("the name of {id} leads back to itself")));
        }
        self.nested += 1;
        let given = self.evaluate(given);
        self.nested -= 1;
        Ok(match given? {
            None => Ok(kind.default_name(id, false)),
            Some(Node { kind: Kind::Unknown(unknown), .. }) => Err(unknown.why),
            Some(node) => {
                node.scalar().map(str::to_owned).ok_or_else(|| format!("the name of {id} is no text"))
            }
        })
    }

    /// `"…${Name}…"`, or a list of that and a map of more names.
    fn substitute(&mut self, argument: &Node, line: u32) -> Evaluated {
        let (template, more) = match argument.items() {
            [] => (argument.scalar(), None),
            [template, more] => (template.scalar(), Some(more)),
            _ => (None, None),
        };
        let Some(template) = template else { return Ok(malformed("Fn::Sub", line)) };
        self.budget.take(Size::of_text(template), line)?;
        let mut text = String::new();
        let mut rest = template;
        while let Some((before, behind)) = rest.split_once("${") {
            text.push_str(before);
            let Some((name, behind)) = behind.split_once('}') else { return Ok(malformed("Fn::Sub", line)) };
            rest = behind;
            if let Some(literal) = name.strip_prefix('!') {
                text.push_str(&format!("${{{literal}}}"));
                continue;
            }
            let name = name.trim();
            let value = match more.and_then(|more| more.get(name)) {
                Some(value) => self.evaluate(value)?,
                None => match name.split_once('.') {
                    Some((id, attribute)) => self.attribute(id, attribute, line)?,
                    None => self.reference(name, line)?,
                },
            };
            match value.as_ref().map(|value| (&value.kind, value.scalar())) {
                Some((_, Some(found))) => text.push_str(found),
                Some((Kind::Unknown(_), _)) => return Ok(value),
                _ => return Ok(unknown(&format!("`${{{name}}}` is no text"), line)),
            }
        }
        text.push_str(rest);
        Ok(Some(Node::text(text, line)))
    }

    fn join(&mut self, argument: &Node, line: u32) -> Evaluated {
        let [between, list] = argument.items() else { return Ok(malformed("Fn::Join", line)) };
        let (Some(between), Some(list)) = (between.scalar(), self.evaluate(list)?) else {
            return Ok(malformed("Fn::Join", line));
        };
        if matches!(list.kind, Kind::Unknown(_)) {
            return Ok(Some(list));
        }
        let mut parts = Vec::new();
        for item in list.items() {
            match item.scalar() {
                Some(text) => parts.push(text),
                None if matches!(item.kind, Kind::Unknown(_)) => return Ok(Some(item.clone())),
                None => return Ok(malformed("Fn::Join", line)),
            }
        }
        self.budget
            .take(Size { text: between.len().saturating_mul(parts.len()), ..Size::default() }, line)?;
        // The resource that an ARN was joined for is not known, but its name is in the text.
        Ok(Some(Node::text(parts.join(between), line)))
    }

    fn choose(&mut self, argument: &Node, line: u32) -> Evaluated {
        let [name, yes, no] = argument.items() else { return Ok(malformed("Fn::If", line)) };
        let Some(name) = name.scalar() else { return Ok(malformed("Fn::If", line)) };
        match self.condition(name)? {
            Ok(true) => self.evaluate(yes),
            Ok(false) => self.evaluate(no),
            Err(why) => Ok(unknown(&format!("whether {name} is met is not known, as {why}"), line)),
        }
    }

    fn find_in_map(&mut self, argument: &Node, line: u32) -> Evaluated {
        let mut keys = Vec::new();
        for item in argument.items().iter().take(3) {
            match self.evaluate(item)? {
                Some(key) if matches!(key.kind, Kind::Unknown(_)) => return Ok(Some(key)),
                Some(key) => keys.extend(key.scalar().map(str::to_owned)),
                None => {}
            }
        }
        let [map, first, second] = keys.as_slice() else { return Ok(malformed("Fn::FindInMap", line)) };
        let found = self.scope.mappings.and_then(|mappings| mappings.at(&[map, first, second]));
        let default = argument.items().get(3).and_then(|more| more.get("DefaultValue"));
        match found.or(default) {
            Some(value) => self.evaluate(value),
            None => Ok(unknown(&format!("the mapping {map} has no {first}, {second}"), line)),
        }
    }

    fn select(&mut self, argument: &Node, line: u32) -> Evaluated {
        let [index, list] = argument.items() else { return Ok(malformed("Fn::Select", line)) };
        let (index, list) = (self.evaluate(index)?, self.evaluate(list)?);
        let index = index.as_ref().and_then(Node::scalar).and_then(|index| index.parse::<usize>().ok());
        let (Some(index), Some(list)) = (index, list) else { return Ok(malformed("Fn::Select", line)) };
        match list.kind {
            Kind::List(mut items) if index < items.len() => Ok(Some(items.swap_remove(index))),
            Kind::Unknown(_) => Ok(Some(list)),
            _ => Ok(malformed("Fn::Select", line)),
        }
    }

    fn split(&mut self, argument: &Node, line: u32) -> Evaluated {
        let [between, text] = argument.items() else { return Ok(malformed("Fn::Split", line)) };
        let (Some(between), Some(text)) = (between.scalar(), self.evaluate(text)?) else {
            return Ok(malformed("Fn::Split", line));
        };
        let Some(whole) = text.scalar().filter(|_| !between.is_empty()) else {
            let is_unknown = matches!(text.kind, Kind::Unknown(_));
            return Ok(if is_unknown { Some(text) } else { malformed("Fn::Split", line) });
        };
        let items: Vec<Node> = whole.split(between).map(|part| Node::text(part, line)).collect();
        self.budget.take(Size { nodes: items.len(), text: whole.len(), height: 1 }, line)?;
        Ok(Some(Node::new(Kind::List(items), line)))
    }

    /// A condition of the template by name.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    pub(super) fn condition(&mut self, name: &str) -> Result<Truth, Fault> {
        if let Some(known) = self.conditions.get(name) {
            return Ok(known.clone());
        }
        let Some(node) = self.scope.conditions.and_then(|conditions| conditions.get(name)) else {
            return Ok(Err(format!("the template has no condition `{name}`")));
        };
        // Whoever comes back here goes in a circle.
        self.conditions.insert(name.to_owned(), Err(format!("the condition {name} leads back to itself")));
        let found = self.truth(node)?;
        self.conditions.insert(name.to_owned(), found.clone());
        Ok(found)
    }

    fn truth(&mut self, node: &Node) -> Result<Truth, Fault> {
        if self.nested >= NESTED_MAX {
            return Ok(Err("conditions are nested too deeply".to_owned()));
        }
        self.nested += 1;
        let found = self.truth_level(node);
        self.nested -= 1;
        found
    }

    fn truth_level(&mut self, node: &Node) -> Result<Truth, Fault> {
        let malformed = |key: &str| Ok(Err(format!("`{key}` has not the arguments of a condition")));
        let [member] = node.members() else { return Ok(Err("a condition is no function".to_owned())) };
        let items = member.value.items();
        match member.key.as_str() {
            key @ "Condition" => match member.value.scalar() {
                Some(name) => self.condition(name),
                None => malformed(key),
            },
            key @ "Fn::Equals" => {
                let [one, other] = items else { return malformed(key) };
                let (one, other) = (self.evaluate(one)?, self.evaluate(other)?);
                Ok(compared(one.as_ref()).and_then(|one| Ok(one == compared(other.as_ref())?)))
            }
            key @ "Fn::Not" => match items {
                [item] => Ok(self.truth(item)?.map(|found| !found)),
                _ => malformed(key),
            },
            key @ ("Fn::And" | "Fn::Or") => {
                let decides = key == "Fn::Or";
                let mut result = Ok(!decides);
                for item in items {
                    match self.truth(item)? {
                        Ok(found) if found == decides => return Ok(Ok(decides)),
                        Ok(_) => {}
                        Err(why) => result = Err(why),
                    }
                }
                Ok(result)
            }
            key => Ok(Err(format!("`{key}` is no function of conditions"))),
        }
    }
}

/// A text that `Fn::Equals` compares.
fn compared(node: Option<&Node>) -> Result<String, String> {
    match node.map(|node| (&node.kind, node.scalar())) {
        Some((_, Some(text))) => Ok(text.to_owned()),
        Some((Kind::Unknown(unknown), _)) => Err(unknown.why.clone()),
        _ => Err("`Fn::Equals` compares what is no text".to_owned()),
    }
}

fn how_to_give(parameter: &str) -> String {
    format!("`--parameter {parameter}=VALUE` gives it a value")
}

fn is_function(key: &str) -> bool {
    key == "Ref" || key.starts_with("Fn::")
}

fn unknown(why: &str, line: u32) -> Option<Node> {
    Some(Node::unknown(why, false, line))
}

fn malformed(function: &str, line: u32) -> Option<Node> {
    Some(Node::unknown(format!("`{function}` has not the arguments that CloudFormation wants"), true, line))
}
