//! Functions that make a text or a number of a whole value.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::node::{Fault, Kind, Node, Size};
use super::{Evaluated, Evaluator, malformed};

impl Evaluator<'_> {
    pub(super) fn base64(&mut self, argument: &Node, line: u32) -> Evaluated {
        let Some(node) = self.evaluate(argument)? else { return Ok(malformed("Fn::Base64", line)) };
        match (&node.kind, node.scalar()) {
            (_, Some(text)) => self.text(STANDARD.encode(text), line),
            (Kind::Unknown(_), _) => Ok(Some(node)),
            _ => Ok(malformed("Fn::Base64", line)),
        }
    }

    /// How many items a list has, also if nobody knows one of them.
    pub(super) fn length(&mut self, argument: &Node, line: u32) -> Evaluated {
        match self.evaluate(argument)? {
            Some(Node { kind: Kind::List(items), .. }) => {
                Ok(Some(Node::plain(items.len().to_string(), line)))
            }
            Some(node) if matches!(node.kind, Kind::Unknown(_)) => Ok(Some(node)),
            _ => Ok(malformed("Fn::Length", line)),
        }
    }

    pub(super) fn json_text(&mut self, argument: &Node, line: u32) -> Evaluated {
        let Some(node) = self.evaluate(argument)? else { return Ok(malformed("Fn::ToJsonString", line)) };
        match (node.unknown_within(), &node.kind) {
            (Some(unknown), _) => Ok(Some(unknown.clone())),
            (None, Kind::List(_) | Kind::Map(_)) => self.text(node.to_json().to_string(), line),
            _ => Ok(malformed("Fn::ToJsonString", line)),
        }
    }

    fn text(&mut self, text: String, line: u32) -> Result<Option<Node>, Fault> {
        self.budget.take(Size::of_text(&text), line)?;
        Ok(Some(Node::text(text, line)))
    }
}
