//! `Auth` of APIs and routes of a template.

use ingle_types::front::{Authorizer, AuthorizerFormat, AuthorizerKind, IdentitySource};

use super::super::findings::{Findings, shortened};
use super::super::front::{self, AUTHORIZATION, Asked, REST_TTL_SECONDS};
use super::super::http;
use super::super::node::{Member, Node};
use super::super::{Api, Payload};
use super::api::Door;

/// Of an event that lets everybody in.
pub(super) const NONE: &str = "NONE";
pub(super) const IAM: &str = "AWS_IAM";
pub(super) const AUTH: &str = "Auth";
const PAYLOAD_TYPE: &str = "FunctionPayloadType";
const TOKEN: &str = "TOKEN";
const KEY_REQUIRED: &str = "ApiKeyRequired";
/// Of `Auth` of an API.
const APPLIED: [&str; 4] = ["DefaultAuthorizer", "Authorizers", KEY_REQUIRED, "UsagePlan"];
type Made = fn(String) -> IdentitySource;
const KINDS_OF_SOURCE: [(&str, Made); 4] = [
    ("Headers", IdentitySource::Header),
    ("QueryStrings", IdentitySource::Query),
    ("StageVariables", IdentitySource::StageVariable),
    ("Context", IdentitySource::Context),
];

/// Who may come in by a route: by its own `Auth`, or that of its API. `None`, with a finding, if that can't be known.
pub(super) fn asked(
    findings: &mut Findings,
    (door, own): (&Door, Option<&Node>),
    line: u32,
) -> Option<Asked> {
    let (api, is_rest) = (door.auth.as_ref(), matches!(door.api, Api::Rest { .. }));
    for auth in [own, api].into_iter().flatten() {
        front::map(findings, auth, AUTH)?;
    }
    let named = own.and_then(|own| own.get("Authorizer"));
    let named = named.or_else(|| api.and_then(|api| api.get("DefaultAuthorizer")));
    let name = match named {
        Some(node) => Some(front::text(findings, node, "the authorizer")?),
        None => None,
    };
    let mut asked = match name.as_deref() {
        None | Some(NONE) => Asked::default(),
        Some(IAM) => Asked::not(format!("the authorizer {IAM}")),
        Some(name) => {
            let listed = api.and_then(|api| api.get("Authorizers"));
            let Some(member) = listed.and_then(|listed| listed.member(name)) else {
                let what = format!("the API has no authorizer `{}`", shortened(name));
                let line = named.map_or(line, |node| node.line);
                front::wrong(findings, line, what, "write it below Auth: Authorizers: of the API");
                return None;
            };
            let mut asked = declared(findings, member, is_rest)?;
            let scopes = own.and_then(|own| own.get("AuthorizationScopes"));
            let scopes = scopes.or_else(|| member.value.get("AuthorizationScopes"));
            if let Some(node) = scopes {
                asked.front.scopes = front::texts(findings, node, "AuthorizationScopes")?;
            }
            asked
        }
    };
    let of = |auth: Option<&'_ Node>| auth.and_then(|auth| auth.get(KEY_REQUIRED)).cloned();
    // An HTTP API has no keys.
    if let Some(node) = of(own).or_else(|| of(api)).filter(|_| is_rest)
        && front::flag(findings, &node, KEY_REQUIRED)?
    {
        asked.front.keys = Some(door.keys.clone());
    }
    Some(asked)
}

fn declared(findings: &mut Findings, member: &Member, is_rest: bool) -> Option<Asked> {
    let (name, config) = (&member.key, &member.value);
    if config.get("UserPoolArn").is_some() {
        return Some(Asked::not(format!("the authorizer {name} of Cognito")));
    }
    if let Some(jwt) = config.get("JwtConfiguration").filter(|_| !is_rest) {
        return jwt_of(findings, member, jwt).map(|authorizer| Asked::by(Some(authorizer)));
    }
    let Some(function) = config.get("FunctionArn") else {
        let what = format!("the authorizer {name} has no FunctionArn");
        let fix = if is_rest { "write it" } else { "write it, or JwtConfiguration" };
        front::wrong(findings, member.line, what, fix);
        return None;
    };
    let function = front::function_of(findings, function, name)?;
    let authorizer =
        if is_rest { rest(findings, member, function)? } else { of_http_api(findings, member, function)? };
    Some(Asked::by(Some(authorizer)))
}

fn rest(findings: &mut Findings, member: &Member, function: String) -> Option<Authorizer> {
    let (name, config) = (member.key.clone(), &member.value);
    let identity = identity(findings, config)?;
    let ttl = identity.and_then(|identity| identity.get("ReauthorizeEvery"));
    let ttl = front::ttl(findings, ttl, REST_TTL_SECONDS);
    let payload = match config.get(PAYLOAD_TYPE) {
        Some(node) => front::text(findings, node, PAYLOAD_TYPE)?,
        None => TOKEN.to_owned(),
    };
    let (kind, sources) = match payload.as_str() {
        TOKEN => {
            let mut text = |key: &str| {
                let node = identity.and_then(|identity| identity.get(key));
                node.map_or(Some(None), |node| front::text(findings, node, key).map(Some))
            };
            let header = text("Header")?.unwrap_or_else(|| AUTHORIZATION.to_owned());
            let pattern = text("ValidationExpression")?;
            (AuthorizerKind::Token { function, pattern }, vec![IdentitySource::Header(header)])
        }
        "REQUEST" => {
            let sources = sources(findings, identity)?;
            if sources.is_empty() && !ttl.is_zero() {
                let what = format!("the authorizer {name} keeps decisions, but about no identity");
                let fix = "write Identity: with Headers or QueryStrings, or ReauthorizeEvery: 0";
                front::wrong(findings, member.line, what, fix);
                return None;
            }
            (AuthorizerKind::Request { function, format: AuthorizerFormat::V1 }, sources)
        }
        other => {
            let what = format!("{PAYLOAD_TYPE} of {name} is `{}`", shortened(other));
            front::wrong(findings, member.line, what, "write TOKEN or REQUEST");
            return None;
        }
    };
    Some(Authorizer { name, kind, sources, ttl })
}

fn of_http_api(findings: &mut Findings, member: &Member, function: String) -> Option<Authorizer> {
    let (name, config) = (member.key.clone(), &member.value);
    let identity = identity(findings, config)?;
    let ttl = front::ttl(findings, identity.and_then(|identity| identity.get("ReauthorizeEvery")), 0);
    let version = config.get("AuthorizerPayloadFormatVersion");
    let version = version.map_or(Some(Payload::V2), |node| http::payload(findings, node))?;
    let is_simple = findings.optional(config, "EnableSimpleResponses", Findings::flag).unwrap_or(false);
    let format = match (version, is_simple) {
        (Payload::V1, _) => AuthorizerFormat::V1,
        (Payload::V2, true) => AuthorizerFormat::V2Simple,
        (Payload::V2, false) => AuthorizerFormat::V2,
    };
    let sources = sources(findings, identity)?;
    // Without an identity there is nothing to keep a decision by.
    let ttl = if sources.is_empty() { std::time::Duration::ZERO } else { ttl };
    Some(Authorizer { name, kind: AuthorizerKind::Request { function, format }, sources, ttl })
}

/// Outer `None` with a finding.
fn identity<'a>(findings: &mut Findings, config: &'a Node) -> Option<Option<&'a Node>> {
    let Some(node) = config.get("Identity") else { return Some(None) };
    front::map(findings, node, "Identity").map(Some)
}

/// All of them, or `None`, with a finding: a decision that is kept for less would hold for other callers.
fn sources(findings: &mut Findings, identity: Option<&Node>) -> Option<Vec<IdentitySource>> {
    let Some(identity) = identity else { return Some(Vec::new()) };
    let mut found = Vec::new();
    for (key, made) in KINDS_OF_SOURCE {
        if let Some(node) = identity.get(key) {
            found.extend(front::texts(findings, node, key)?.into_iter().map(made));
        }
    }
    Some(found)
}

fn jwt_of(findings: &mut Findings, member: &Member, config: &Node) -> Option<Authorizer> {
    let name = member.key.clone();
    let of = |key: &str| config.get(key).or_else(|| config.get(&titled(key)));
    let Some(issuer) = of("issuer") else {
        let what = format!("the authorizer {name} has no issuer");
        front::wrong(findings, config.line, what, "write issuer: and its URL");
        return None;
    };
    let issuer = findings.text(issuer, "the issuer")?;
    let audiences = of("audience").map(|node| findings.texts(node, "the audience")).unwrap_or_default();
    let source = member.value.get("IdentitySource");
    front::jwt(findings, name, (issuer, audiences), source, member.line)
}

/// SAM takes either spelling.
fn titled(key: &str) -> String {
    let (first, rest) = key.split_at_checked(1).unwrap_or((key, ""));
    first.to_ascii_uppercase() + rest
}

/// Of an `Auth`: from where callers may come.
const RESOURCE_POLICY: &str = "ResourcePolicy";

/// What of an `Auth` has no effect.
pub(super) fn note_ignored(findings: &mut Findings, auth: &Node, subject: &str) {
    for member in auth.members().iter().filter(|one| !APPLIED.contains(&one.key.as_str())) {
        let (what, why) = (format!("Auth.{}", member.key), "it is not applied here");
        match member.key.as_str() {
            RESOURCE_POLICY => findings.missing_of(member.line, &what, subject, why),
            _ => findings.ignore_of(member.line, &what, subject, why),
        }
    }
}
