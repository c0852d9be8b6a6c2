//! Names that a template refers to and does not have: CloudFormation refuses it as a whole, also where Ingle could do without
//! the value.

use std::collections::{BTreeMap, BTreeSet};

use super::super::findings::{Findings, shortened};
use super::super::intrinsics::is_made;
use super::super::node::{Kind, Node};
use crate::suggest::{did_you_mean, nearest};

/// Transforms that add no resources of names that a template could refer to and Ingle does not know.
const KNOWN_TRANSFORMS: [&str; 3] = ["AWS::Serverless-", "AWS::LanguageExtensions", "AWS::SecretsManager-"];
const SECTIONS: [&str; 3] = ["Globals", "Resources", "Outputs"];
/// Repeats what is below it for each of some names, which only that knows.
const FOR_EACH: &str = "Fn::ForEach";
const TRANSFORM: &str = "Fn::Transform";

/// Finds them, unless something that Ingle does not run may add names.
pub(super) fn check(findings: &mut Findings, tree: &Node) {
    let resources = tree.get("Resources").map_or(&[][..], Node::members);
    let adds = |key: &str| key.starts_with(FOR_EACH) || key == TRANSFORM;
    if !are_transforms_known(tree) || resources.iter().any(|one| adds(&one.key)) {
        return;
    }
    let keys = |section: &str| -> BTreeSet<&str> {
        tree.get(section).map_or(&[][..], Node::members).iter().map(|one| one.key.as_str()).collect()
    };
    let resources = resources.iter().map(|one| (one.key.as_str(), &one.value)).collect();
    let names = Names { resources, parameters: keys("Parameters"), conditions: keys("Conditions") };
    for section in SECTIONS.iter().filter_map(|section| tree.get(section)) {
        names.walk(findings, section);
    }
    for resource in names.resources.values() {
        if let Some(condition) = resource.get("Condition") {
            names.condition(findings, condition);
        }
    }
}

fn are_transforms_known(tree: &Node) -> bool {
    let is_known = |node: &Node| {
        let known = |name: &str| KNOWN_TRANSFORMS.iter().any(|start| name.starts_with(start));
        node.scalar().is_some_and(known)
    };
    match tree.get("Transform") {
        None => true,
        Some(node) if matches!(node.kind, Kind::List(_)) => node.items().iter().all(is_known),
        Some(node) => is_known(node),
    }
}

struct Names<'a> {
    resources: BTreeMap<&'a str, &'a Node>,
    parameters: BTreeSet<&'a str>,
    conditions: BTreeSet<&'a str>,
}

impl Names<'_> {
    fn walk(&self, findings: &mut Findings, node: &Node) {
        if let [member] = node.members() {
            let argument = &member.value;
            match member.key.as_str() {
                "Ref" => {
                    if let Some(name) = argument.scalar() {
                        self.reference(findings, name, node.line);
                    }
                }
                "Fn::GetAtt" => {
                    let name = argument.scalar().or_else(|| argument.items().first()?.scalar());
                    if let Some(name) = name {
                        self.resource(findings, name.split('.').next().unwrap_or(name), node.line);
                    }
                }
                "Fn::Sub" => self.text(findings, argument, node.line),
                "Fn::If" => {
                    if let Some(condition) = argument.items().first() {
                        self.condition(findings, condition);
                    }
                }
                _ => {}
            }
        }
        for item in node.items() {
            self.walk(findings, item);
        }
        for member in node.members().iter().filter(|member| !member.key.starts_with(FOR_EACH)) {
            self.walk(findings, &member.value);
        }
    }

    /// `"…${Name}…"`, or a list of that and a map of more names.
    fn text(&self, findings: &mut Findings, argument: &Node, line: u32) {
        let (template, more) = match argument.items() {
            [template, more] => (template.scalar(), Some(more)),
            _ => (argument.scalar(), None),
        };
        for part in template.into_iter().flat_map(|template| template.split("${").skip(1)) {
            let Some((name, _)) = part.split_once('}') else { continue };
            let name = name.trim();
            if name.starts_with('!') || more.is_some_and(|more| more.member(name).is_some()) {
                continue;
            }
            match name.split_once('.') {
                Some((id, _)) => self.resource(findings, id, line),
                None => self.reference(findings, name, line),
            }
        }
    }

    fn reference(&self, findings: &mut Findings, name: &str, line: u32) {
        if self.parameters.contains(name) || name.starts_with("AWS::") || self.is_resource(name) {
            return;
        }
        let known = self.resources.keys().chain(&self.parameters).copied();
        undefined(findings, "resource or parameter", name, (nearest(name, known), line));
    }

    fn resource(&self, findings: &mut Findings, id: &str, line: u32) {
        if !self.is_resource(id) {
            undefined(findings, "resource", id, (nearest(id, self.resources.keys().copied()), line));
        }
    }

    fn condition(&self, findings: &mut Findings, node: &Node) {
        if let Some(name) = node.scalar().filter(|name| !self.conditions.contains(name)) {
            let near = nearest(name, self.conditions.iter().copied());
            undefined(findings, "condition", name, (near, node.line));
        }
    }

    fn is_resource(&self, name: &str) -> bool {
        self.resources.contains_key(name) || is_made(name, &self.resources)
    }
}

fn undefined(findings: &mut Findings, kind: &str, name: &str, (near, line): (Option<&str>, u32)) {
    let what = format!("the template has no {kind} `{}`{}", shortened(name), did_you_mean(near));
    findings.wrong(
        "E0116",
        line,
        what,
        "correct the name, or add it: CloudFormation refuses the template as it is",
    );
}
