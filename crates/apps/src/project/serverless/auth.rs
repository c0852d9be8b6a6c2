//! `authorizer` of events of a serverless.yml.

use std::collections::BTreeMap;

use ingle_types::front::{Authorizer, AuthorizerFormat, AuthorizerKind, IdentitySource};

use super::super::Payload;
use super::super::findings::{Findings, shortened};
use super::super::front::{self, AUTHORIZATION, Asked, REST_TTL_SECONDS};
use super::super::http;
use super::super::node::{Kind, Member, Node};
use super::keys;

/// Names of functions by their keys.
pub(super) type Names = BTreeMap<String, String>;

const IAM: &str = "aws_iam";
const PATTERN: &str = "identityValidationExpression";

/// Who may come in by an event of type http.
pub(super) fn rest(findings: &mut Findings, names: &Names, provider: &Node, config: &Node) -> Option<Asked> {
    let mut asked = match config.get("authorizer") {
        Some(node) => rest_authorizer(findings, names, node)?,
        None => Asked::default(),
    };
    if let Some(node) = config.get("private")
        && front::flag(findings, node, "private")?
    {
        asked.front.keys = Some(keys::read(findings, provider)?);
    }
    Some(asked)
}

fn rest_authorizer(findings: &mut Findings, names: &Names, node: &Node) -> Option<Asked> {
    let empty = Node::new(Kind::Map(Vec::new()), node.line);
    let (named, config) = match node.scalar() {
        Some(_) => (Some(node), &empty),
        None => (node.get("arn").or_else(|| node.get("name")), node),
    };
    let kind = match config.get("type") {
        Some(node) => front::text(findings, node, "the type of an authorizer")?.to_ascii_lowercase(),
        None => "token".to_owned(),
    };
    let text = named.and_then(Node::scalar);
    if kind == IAM || text.is_some_and(|text| text.eq_ignore_ascii_case(IAM)) {
        return Some(Asked::not("the authorizer aws_iam"));
    }
    if kind == "cognito_user_pools" || text.is_some_and(|text| text.starts_with("arn:aws:cognito-idp:")) {
        return Some(Asked::not("the authorizer of Cognito"));
    }
    if let Some(id) = config.get("authorizerId") {
        return Some(Asked::not(format!("the authorizer {}", id.scalar().unwrap_or("of the event"))));
    }
    let Some(text) = text else {
        front::wrong(
            findings,
            node.line,
            "the authorizer names no function",
            "write name: and the function's key",
        );
        return None;
    };
    let function = function(findings, names, text, node.line)?;
    let name = config.get("name").and_then(Node::scalar).unwrap_or(text).to_owned();
    let ttl = front::ttl(findings, config.get("resultTtlInSeconds"), REST_TTL_SECONDS);
    let sources = match config.get("identitySource") {
        Some(node) => front::identity(findings, node)?,
        None if kind == "request" && ttl.is_zero() => Vec::new(),
        None => vec![IdentitySource::Header(AUTHORIZATION.to_owned())],
    };
    let kind = match kind.as_str() {
        "token" => {
            let pattern = match config.get(PATTERN) {
                Some(node) => Some(front::text(findings, node, PATTERN)?),
                None => None,
            };
            AuthorizerKind::Token { function, pattern }
        }
        "request" => AuthorizerKind::Request { function, format: AuthorizerFormat::V1 },
        other => {
            let what = format!("the type of an authorizer is `{}`", shortened(other));
            front::wrong(findings, config.line, what, "write token or request");
            return None;
        }
    };
    Some(Asked::by(Some(Authorizer { name, kind, sources, ttl })))
}

/// A key of the file, or an ARN.
fn function(findings: &mut Findings, names: &Names, text: &str, line: u32) -> Option<String> {
    let found = names.get(text).cloned().or_else(|| front::function_in_arn(text));
    if found.is_none() {
        let what = format!("the authorizer `{}` is no function of this file", shortened(text));
        front::wrong(findings, line, what, "write the function's key below functions:");
    }
    found
}

/// Who may come in by an event of type httpApi.
pub(super) fn http_api(
    findings: &mut Findings,
    names: &Names,
    provider: &Node,
    config: &Node,
) -> Option<Asked> {
    let Some(node) = config.get("authorizer") else { return Some(Asked::default()) };
    if node.scalar().or_else(|| node.get("type").and_then(Node::scalar)) == Some(IAM) {
        return Some(Asked::not("the authorizer aws_iam"));
    }
    if let Some(id) = node.get("id") {
        return Some(Asked::not(format!("the authorizer {}", id.scalar().unwrap_or("of the event"))));
    }
    let named = if node.scalar().is_some() { Some(node) } else { node.get("name") };
    let Some(name) = named.and_then(Node::scalar) else {
        front::wrong(findings, node.line, "the authorizer has no name", "write name: and its key");
        return None;
    };
    let listed = provider.at(&["httpApi", "authorizers"]);
    let Some(member) = listed.and_then(|listed| listed.member(name)) else {
        let what = format!("the provider has no authorizer `{}`", shortened(name));
        front::wrong(findings, node.line, what, "write it below provider: httpApi: authorizers:");
        return None;
    };
    let authorizer = of_http_api(findings, names, member)?;
    let mut asked = Asked::by(Some(authorizer));
    if let Some(node) = node.get("scopes") {
        asked.front.scopes = front::texts(findings, node, "scopes")?;
    }
    Some(asked)
}

fn of_http_api(findings: &mut Findings, names: &Names, member: &Member) -> Option<Authorizer> {
    let (name, config) = (member.key.clone(), &member.value);
    let kind = config.get("type").and_then(Node::scalar).unwrap_or("jwt").to_ascii_lowercase();
    if kind == "jwt" {
        let Some(issuer) = config.get("issuerUrl") else {
            let what = format!("the authorizer {name} has no issuerUrl");
            front::wrong(findings, member.line, what, "write issuerUrl: and its URL");
            return None;
        };
        let issuer = findings.text(issuer, "issuerUrl")?;
        let audiences = config.get("audience").map(|node| findings.texts(node, "audience"));
        let tokens = (issuer, audiences.unwrap_or_default());
        return front::jwt(findings, name, tokens, config.get("identitySource"), member.line);
    }
    if kind != "request" {
        let what = format!("the type of the authorizer {name} is `{}`", shortened(&kind));
        front::wrong(findings, member.line, what, "write jwt or request");
        return None;
    }
    let named = config.get("functionArn").or_else(|| config.get("functionName"));
    let Some(text) = named.and_then(Node::scalar) else {
        let what = format!("the authorizer {name} names no function");
        front::wrong(findings, member.line, what, "write functionName: and the function's key");
        return None;
    };
    let function = function(findings, names, text, member.line)?;
    let version = config.get("payloadVersion");
    let version = version.map_or(Some(Payload::V2), |node| http::payload(findings, node))?;
    let is_simple = findings.optional(config, "enableSimpleResponses", Findings::flag).unwrap_or(false);
    let format = match (version, is_simple) {
        (Payload::V1, _) => AuthorizerFormat::V1,
        (Payload::V2, true) => AuthorizerFormat::V2Simple,
        (Payload::V2, false) => AuthorizerFormat::V2,
    };
    let sources = match config.get("identitySource") {
        Some(node) => front::identity(findings, node)?,
        None => Vec::new(),
    };
    let ttl = front::ttl(findings, config.get("resultTtlInSeconds"), 0);
    if sources.is_empty() && !ttl.is_zero() {
        let what = format!("the authorizer {name} keeps decisions, but about no identity");
        front::wrong(findings, member.line, what, "write identitySource:, or resultTtlInSeconds: 0");
        return None;
    }
    Some(Authorizer { name, kind: AuthorizerKind::Request { function, format }, sources, ttl })
}
