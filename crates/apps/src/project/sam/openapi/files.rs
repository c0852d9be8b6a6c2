//! Files that hold the OpenAPI document of an API.

use std::path::Path;

use super::super::super::findings::{Findings, shortened};
use super::super::super::intrinsics::Evaluator;
use super::super::super::node::{Fault, Node};
use super::super::super::place::{self, Misplaced};
use super::super::super::{TWICE, tree};
use crate::folder::read_bytes;

const FIX: &str = "write an OpenAPI document in YAML or JSON";

/// Where a document is that `AWS::Include` puts in place of `DefinitionBody`.
pub(super) fn included(properties: &Node) -> Option<&Node> {
    let transform = properties.at(&["DefinitionBody", "Fn::Transform"])?;
    let is_include = transform.get("Name").and_then(Node::scalar) == Some("AWS::Include");
    transform.at(&["Parameters", "Location"]).filter(|_| is_include)
}

/// The tree of a file of the project, with its path.
pub(super) fn load(findings: &mut Findings, root: &Path, node: &Node) -> Option<(String, Node)> {
    let text = node.scalar().filter(|text| !text.contains("://"));
    let Some(text) = text else {
        findings.missing(
            node.line,
            "an OpenAPI document",
            "it is not in this folder, so its routes are not served",
        );
        return None;
    };
    let shown = shortened(text);
    let path = match place::beneath(root, text) {
        Ok(path) => path,
        Err(Misplaced::Missing) => {
            let what = format!("the OpenAPI document `{shown}` is not there");
            findings.wrong(
                "E0117",
                node.line,
                what,
                format!("make it, or name it from the folder of {}", findings.file),
            );
            return None;
        }
        Err(Misplaced::Outside) => {
            let what = format!("the OpenAPI document `{shown}` is not in the project's folder");
            findings.wrong("E0221", node.line, what, "move it into the project's folder");
            return None;
        }
    };
    let file = path.display().to_string();
    let bytes = match read_bytes(&root.join(&path)) {
        Ok(Some(bytes)) => bytes,
        Ok(None) | Err(_) => {
            let what = format!("the OpenAPI document `{shown}` can't be read");
            findings.wrong("E0117", node.line, what, "name a file");
            return None;
        }
    };
    match tree(&file, bytes) {
        Ok(loaded) => {
            for (line, key) in loaded.doubles {
                findings.ignore_in(&file, line, format!("the key {}", shortened(&key)), TWICE);
            }
            Some((file, loaded.root))
        }
        Err(fault) => {
            wrong(findings, &file, fault);
            None
        }
    }
}

/// The document with all functions replaced by what they give.
pub(super) fn evaluated(
    findings: &mut Findings,
    evaluator: &mut Evaluator<'_>,
    (file, tree): (&str, &Node),
) -> Option<Node> {
    evaluator.evaluate(tree).unwrap_or_else(|fault| {
        wrong(findings, file, fault);
        None
    })
}

fn wrong(findings: &mut Findings, file: &str, Fault { line, what }: Fault) {
    findings.within(Some(file), |findings| findings.wrong("E0116", line, what, FIX));
}
