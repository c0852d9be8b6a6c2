//! What the framework makes besides what a serverless.yml says: its own resources, with their ids and names.

use super::super::node::{Kind, Member, Node};
use super::{auth, events};

/// What the framework makes for all functions, by its ids.
const APIS_AND_ROLE: [(&str, &str); 4] = [
    (events::REST_API, "AWS::Serverless::Api"),
    (events::HTTP_API, "AWS::Serverless::HttpApi"),
    ("WebsocketsApi", "AWS::ApiGatewayV2::Api"),
    ("IamRoleLambdaExecution", "AWS::IAM::Role"),
];

/// What references to the framework's own resources find: APIs, and each function and layer, as CloudFormation would have
/// them.
pub(super) fn by_framework(functions: &[Member], layers: Option<&Node>, prefix: &str) -> Vec<(String, Node)> {
    let resource = |kind: &str, property: &str, name: Node, line: u32| {
        let member = |key: &str, value: Node| Member { key: key.to_owned(), line, value };
        let properties = Node::new(Kind::Map(vec![member(property, name)]), line);
        Node::new(
            Kind::Map(vec![member("Type", Node::text(kind, line)), member("Properties", properties)]),
            line,
        )
    };
    let mut made = Vec::new();
    for (id, kind) in APIS_AND_ROLE {
        // An API goes by its id, as its events show it; it has no property for a name.
        let node = resource(kind, "", Node::text(id.to_ascii_lowercase(), 1), 1);
        made.push((id.to_owned(), node));
    }
    for function in functions {
        let default = || Node::text(format!("{prefix}-{}", function.key), function.line);
        let name = function.value.get("name").cloned().unwrap_or_else(default);
        let node = resource("AWS::Lambda::Function", "FunctionName", name, function.line);
        made.push((format!("{}LambdaFunction", normalized(&function.key)), node));
    }
    for layer in layers.map_or(&[][..], Node::members) {
        let name = Node::text(layer.key.clone(), layer.line);
        let node = resource("AWS::Lambda::LayerVersion", "LayerName", name, layer.line);
        made.push((layer_id(&layer.key), node));
    }
    made
}

/// What functions are called at AWS.
pub(super) fn names(functions: &[Member], prefix: &str) -> auth::Names {
    let name = |function: &Member| {
        let own = function.value.get("name").and_then(Node::scalar).map(str::to_owned);
        (function.key.clone(), own.unwrap_or_else(|| format!("{prefix}-{}", function.key)))
    };
    functions.iter().map(name).collect()
}

pub(super) fn layer_id(key: &str) -> String {
    format!("{}LambdaLayer", normalized(key))
}

/// A key as it is in the framework's logical ids.
fn normalized(key: &str) -> String {
    let key = key.replace('-', "Dash").replace('_', "Underscore");
    let mut letters = key.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
