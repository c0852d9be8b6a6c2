//! Security of OpenAPI documents: who may come in by an operation.

use ingle_types::front::{Authorizer, AuthorizerFormat, AuthorizerKind, IdentitySource};

use super::super::Payload;
use super::super::findings::{Findings, shortened};
use super::super::front::{self, AUTHORIZATION, Asked, REST_TTL_SECONDS};
use super::super::http;
use super::super::node::{Kind, Member, Node};
use super::auth::{IAM, NONE};
use super::openapi::in_uri;

const AUTHORIZER: &str = "x-amazon-apigateway-authorizer";
const KIND: &str = "x-amazon-apigateway-authtype";
/// Of an operation.
pub(super) const AUTH: &str = "x-amazon-apigateway-auth";
const PATTERN: &str = "identityValidationExpression";
const KEY_HEADER: &str = "x-api-key";

/// Outer `None`, with a finding, if it can't be known; inner if the document says nothing, or nobody. `keys` of the result are empty where a key is wanted.
pub(super) fn asked(
    findings: &mut Findings,
    root: &Node,
    operation: &Member,
    is_rest: bool,
) -> Option<Option<Asked>> {
    let wants_iam = wants_iam(findings, operation)?;
    let mut asked = by_schemes(findings, root, operation, is_rest)?;
    if wants_iam {
        let asked = asked.get_or_insert_default();
        asked.guard.get_or_insert_with(|| format!("the authorizer {IAM}"));
    }
    Some(asked)
}

/// What the operation says beside the schemes of the document.
fn wants_iam(findings: &mut Findings, operation: &Member) -> Option<bool> {
    let Some(node) = operation.value.get(AUTH) else { return Some(false) };
    let kind = match front::map(findings, node, AUTH)?.get("type") {
        Some(kind) => front::text(findings, kind, &format!("the type of {AUTH}"))?,
        None => String::new(),
    };
    match kind.to_ascii_uppercase().as_str() {
        NONE => Some(false),
        IAM => Some(true),
        _ => {
            let what = format!("the type of {AUTH} is `{}`", shortened(&kind));
            front::wrong(findings, node.line, what, format!("write {IAM} or {NONE}"));
            None
        }
    }
}

fn by_schemes(
    findings: &mut Findings,
    root: &Node,
    operation: &Member,
    is_rest: bool,
) -> Option<Option<Asked>> {
    let Some(listed) = operation.value.get("security").or_else(|| root.get("security")) else {
        return Some(None);
    };
    let items = listed.items();
    let other = items.iter().find(|item| !matches!(item.kind, Kind::Map(_)));
    if let Some(node) = other.or(Some(listed).filter(|listed| !matches!(listed.kind, Kind::List(_)))) {
        front::unreadable(findings, node, "security", "a list of maps, e.g. [{users: []}]");
        return None;
    }
    if items.is_empty() {
        return Some(None);
    }
    let mut asked = Asked::default();
    // All of one item have to be met, or those of another; more than one authorizer is none of API Gateway's.
    for wanted in items.iter().flat_map(Node::members) {
        let name = wanted.key.as_str();
        let schemes = root.get("securityDefinitions").or_else(|| root.at(&["components", "securitySchemes"]));
        let Some(scheme) = schemes.and_then(|schemes| schemes.member(name)) else {
            let what = format!("the document has no security scheme `{}`", shortened(name));
            front::wrong(findings, wanted.line, what, "write it below components: securitySchemes:");
            return None;
        };
        if is_key(&scheme.value) {
            asked.front.keys = Some(Vec::new());
            continue;
        }
        if asked.is_decided() {
            let what = format!("{} {} wants two authorizers", operation.key, shortened(name));
            front::wrong(findings, wanted.line, what, "leave one of them out");
            return None;
        }
        match declared(findings, scheme, is_rest)? {
            Some(authorizer) => {
                asked.front.authorizer = Some(authorizer);
                asked.front.scopes = front::texts(findings, &wanted.value, "scopes")?;
            }
            None => asked.guard = Some(format!("the authorizer {name}")),
        }
    }
    Some(Some(asked))
}

/// An API key, which is no authorizer.
fn is_key(scheme: &Node) -> bool {
    let is = |key: &str, text: &str| {
        scheme.get(key).and_then(Node::scalar).is_some_and(|found| found.eq_ignore_ascii_case(text))
    };
    is("type", "apiKey") && is("name", KEY_HEADER) && scheme.get(AUTHORIZER).is_none()
}

/// Inner `None` for one that is not asked here.
fn declared(findings: &mut Findings, scheme: &Member, is_rest: bool) -> Option<Option<Authorizer>> {
    let (name, config) = (scheme.key.clone(), &scheme.value);
    let kind = config.at(&[AUTHORIZER, "type"]).and_then(Node::scalar).unwrap_or_default();
    let Some(settings) = config.get(AUTHORIZER) else {
        if config.get(KIND).is_some() {
            return Some(None);
        }
        let what = format!("the security scheme {name} has no {AUTHORIZER}");
        front::wrong(findings, scheme.line, what, "write it, with type and authorizerUri");
        return None;
    };
    if kind == "cognito_user_pools" {
        return Some(None);
    }
    if kind == "jwt" && !is_rest {
        let of = |key: &str| settings.at(&["jwtConfiguration", key]);
        let issuer = of("issuer").and_then(Node::scalar).unwrap_or_default().to_owned();
        let audiences = of("audience").map(|node| findings.texts(node, "audience")).unwrap_or_default();
        let source = settings.get("identitySource");
        return front::jwt(findings, name, (issuer, audiences), source, scheme.line).map(Some);
    }
    let function = settings.get("authorizerUri").and_then(Node::scalar).and_then(in_uri);
    let Some(function) = function else {
        let what = format!("the security scheme {name} names no function that is known here");
        let fix = "write authorizerUri: with ${MyFunction.Arn} in Fn::Sub";
        front::wrong(findings, scheme.line, what, fix);
        return None;
    };
    let ttl = settings.get("authorizerResultTtlInSeconds");
    let ttl = front::ttl(findings, ttl, if is_rest { REST_TTL_SECONDS } else { 0 });
    let sources = match settings.get("identitySource") {
        Some(node) => front::identity(findings, node)?,
        None => Vec::new(),
    };
    let header = config.get("name").and_then(Node::scalar).unwrap_or(AUTHORIZATION).to_owned();
    let (kind, sources) = match kind {
        "token" if is_rest => {
            let pattern = match settings.get(PATTERN) {
                Some(node) => Some(front::text(findings, node, PATTERN)?),
                None => None,
            };
            (AuthorizerKind::Token { function, pattern }, vec![IdentitySource::Header(header)])
        }
        "request" => {
            (AuthorizerKind::Request { function, format: format(findings, settings, is_rest)? }, sources)
        }
        other => {
            let what = format!("the type of the security scheme {name} is `{}`", shortened(other));
            front::wrong(findings, scheme.line, what, "write token, request or, for an HTTP API, jwt");
            return None;
        }
    };
    // Without an identity there is nothing to keep a decision by.
    let ttl = if sources.is_empty() { std::time::Duration::ZERO } else { ttl };
    Some(Some(Authorizer { name, kind, sources, ttl }))
}

fn format(findings: &mut Findings, settings: &Node, is_rest: bool) -> Option<AuthorizerFormat> {
    if is_rest {
        return Some(AuthorizerFormat::V1);
    }
    let version = settings.get("authorizerPayloadFormatVersion");
    let version = version.map_or(Some(Payload::V2), |node| http::payload(findings, node))?;
    let is_simple = findings.optional(settings, "enableSimpleResponses", Findings::flag).unwrap_or(false);
    Some(match (version, is_simple) {
        (Payload::V1, _) => AuthorizerFormat::V1,
        (Payload::V2, true) => AuthorizerFormat::V2Simple,
        (Payload::V2, false) => AuthorizerFormat::V2,
    })
}
