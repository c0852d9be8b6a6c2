//! Who may come in by a route, as all kinds of projects have it.

use std::collections::BTreeSet;
use std::time::Duration;

use ingle_types::front::{Authorizer, AuthorizerKind, FrontSpec, IdentitySource};

use super::findings::{Findings, shortened};
use super::node::{Kind, Member, Node};
use super::resources::name_in_arn;
use super::{EventSource, ProjectFunction};

/// The header that has the token if nothing else is said.
pub(super) const AUTHORIZATION: &str = "Authorization";
/// How long a REST API keeps a decision if nothing is said; an HTTP API keeps none.
pub(super) const REST_TTL_SECONDS: u64 = 300;
const TTL_SECONDS_RANGE: std::ops::RangeInclusive<u64> = 0..=3600;

/// What a route says of its callers.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) front: Box<FrontSpec>,
    /// What of it is not asked here.
    pub(super) guard: Option<String>,
}

impl Asked {
    pub(super) fn by(authorizer: Option<Authorizer>) -> Self {
        Self { front: Box::new(FrontSpec { authorizer, ..FrontSpec::default() }), guard: None }
    }

    pub(super) fn not(guard: impl Into<String>) -> Self {
        Self { front: Box::default(), guard: Some(guard.into()) }
    }

    /// Whether somebody decides about callers, here or at AWS.
    pub(super) fn is_decided(&self) -> bool {
        self.front.authorizer.is_some() || self.guard.is_some()
    }

    /// Who decides, as half a sentence.
    pub(super) fn authorizer(&self) -> Option<String> {
        let named = self.front.authorizer.as_ref().map(|one| format!("the authorizer {}", one.name));
        named.or_else(|| self.guard.clone())
    }
}

/// An authorizer that can't be asked; its routes are not served, as they would be open to all.
pub(super) fn wrong(findings: &mut Findings, line: u32, what: impl Into<String>, fix: impl Into<String>) {
    findings.wrong("E0120", line, what, fix);
}

/// A value that says who may come in, and is of another kind, or not known. Without it the route would be open.
pub(super) fn unreadable(findings: &mut Findings, node: &Node, what: &str, wanted: &str) {
    let (found, fix) = match &node.kind {
        Kind::Unknown(unknown) => (
            format!("{what} is not known: {}", unknown.why),
            format!("write {wanted}, or give what it names a default"),
        ),
        _ => (format!("{what} is {}", node.describe()), format!("write {wanted}")),
    };
    wrong(findings, node.line, found, fix);
}

/// A map that says who may come in.
pub(super) fn map<'a>(findings: &mut Findings, node: &'a Node, what: &str) -> Option<&'a Node> {
    if matches!(node.kind, Kind::Map(_)) {
        return Some(node);
    }
    unreadable(findings, node, what, "a map of keys and values");
    None
}

pub(super) fn flag(findings: &mut Findings, node: &Node, what: &str) -> Option<bool> {
    let flag = node.flag();
    if flag.is_none() {
        unreadable(findings, node, what, "true or false");
    }
    flag
}

pub(super) fn text(findings: &mut Findings, node: &Node, what: &str) -> Option<String> {
    match node.scalar() {
        Some(text) if !node.is_null() => Some(text.to_owned()),
        _ => {
            unreadable(findings, node, what, "a text");
            None
        }
    }
}

/// One text, or a list of them: all of them, as each lets somebody in or not.
pub(super) fn texts(findings: &mut Findings, node: &Node, what: &str) -> Option<Vec<String>> {
    match &node.kind {
        Kind::List(items) => items.iter().map(|item| text(findings, item, what)).collect(),
        _ => text(findings, node, what).map(|text| vec![text]),
    }
}

/// The function of an ARN, by its name.
pub(super) fn function_of(findings: &mut Findings, node: &Node, authorizer: &str) -> Option<String> {
    let name = node.scalar().and_then(function_in_arn);
    if name.is_none() {
        let what = format!("the authorizer {} names no function that is known here", shortened(authorizer));
        wrong(findings, node.line, what, "write !GetAtt and the function's key with .Arn");
    }
    name
}

/// `hello` of `arn:aws:lambda:us-east-1:000000000000:function:hello:live`.
pub(super) fn function_in_arn(text: &str) -> Option<String> {
    let rest = name_in_arn(text, "lambda")?.strip_prefix("function:")?;
    rest.split(':').next().filter(|name| !name.is_empty()).map(str::to_owned)
}

/// For how long a decision is kept; not at all where the file has a time that can't be read.
pub(super) fn ttl(findings: &mut Findings, node: Option<&Node>, default: u64) -> Duration {
    let what = "the time for which a decision is kept, in seconds,";
    let seconds =
        node.map_or(default, |node| findings.number(node, what, TTL_SECONDS_RANGE).unwrap_or_default());
    Duration::from_secs(seconds)
}

/// That functions which are asked are there. A route whose is not is answered with 500.
pub(super) fn check(findings: &mut Findings, functions: &[ProjectFunction]) {
    let names: BTreeSet<&str> = functions.iter().map(|function| &*function.name).collect();
    for function in functions {
        for source in &function.sources {
            let EventSource::Http(http) = source else { continue };
            let asked = http.front.authorizer.as_ref();
            let Some((authorizer, asked)) = asked.and_then(|one| Some((one, one.function()?))) else {
                continue;
            };
            if names.contains(asked) {
                continue;
            }
            findings.function = Some(function.id.clone());
            let what = format!(
                "the authorizer {} of {} asks the function {}, which is none of this project that is served",
                shortened(&authorizer.name),
                http.path,
                shortened(asked),
            );
            let file = http.file.as_ref().map(|file| file.display().to_string());
            let own = file.map(|file| std::mem::replace(&mut findings.file, file));
            wrong(findings, http.line, what, "add the function, or mend what is wrong with it");
            if let Some(own) = own {
                findings.file = own;
            }
            findings.function = None;
        }
    }
}

/// An authorizer for signed tokens.
pub(super) fn jwt(
    findings: &mut Findings,
    name: String,
    (issuer, audiences): (String, Vec<String>),
    source: Option<&Node>,
    line: u32,
) -> Option<Authorizer> {
    let is_url = ["https://", "http://"].iter().any(|scheme| issuer.starts_with(scheme));
    if !is_url {
        let what = format!("the issuer `{}` of {name} is no URL", shortened(&issuer));
        wrong(findings, line, what, "write https:// and where its /.well-known/openid-configuration is");
        return None;
    }
    if audiences.is_empty() {
        wrong(
            findings,
            line,
            format!("the authorizer {name} has no audience"),
            "write audience: [my-client]",
        );
        return None;
    }
    let mut sources = match source {
        Some(node) => identity(findings, node)?,
        None => Vec::new(),
    };
    if sources.is_empty() {
        sources.push(IdentitySource::Header(AUTHORIZATION.to_owned()));
    }
    Some(Authorizer { name, kind: AuthorizerKind::Jwt { issuer, audiences }, sources, ttl: Duration::ZERO })
}

/// Sources of an identity, in a list or with commas.
pub(super) fn identity(findings: &mut Findings, node: &Node) -> Option<Vec<IdentitySource>> {
    let texts = texts(findings, node, "the identity source")?;
    let mut found = Vec::new();
    for text in texts.iter().flat_map(|text| text.split(',')) {
        let Some(source) = IdentitySource::parse(text) else {
            let what = format!("`{}` is no part of a request", shortened(text));
            wrong(
                findings,
                node.line,
                what,
                "write e.g. method.request.header.Authorization for http, and $request.header.Authorization for httpApi",
            );
            return None;
        };
        found.push(source);
    }
    Some(found)
}

/// The media type of bodies that say none.
pub(super) const JSON: &str = "application/json";

/// A JSON schema. Whether it is one is found out by who applies it.
pub(super) fn schema(findings: &mut Findings, node: &Node) -> Option<serde_json::Value> {
    let is_map = matches!(node.kind, Kind::Map(_));
    if !is_map || node.unknown_within().is_some() {
        let at = node.unknown_within().unwrap_or(node);
        let fix = "write a JSON schema, e.g. {type: object, required: [name]}";
        findings.wrong("E0121", at.line, "a schema has a value that is not known, or is no map", fix);
        return None;
    }
    Some(node.to_json())
}

/// Of the expressions of API Gateway for a header of a response those that can't be evaluated here.
const UNMAPPED: [&str; 4] = ["integration.response.", "context.", "$context.", "stageVariables."];
const OF_BODY: &str = "integration.response.body.";

/// What a header of a response is made from: `'text'`, or a member of what the function returned. Outer `None`, with a finding, for
/// what is no expression; inner for one that is not evaluated.
pub(super) fn mapping(findings: &mut Findings, header: &Member) -> Option<Option<String>> {
    let text = findings.text(&header.value, "a header")?;
    let is_literal = text.len() > 1 && text.starts_with('\'') && text.ends_with('\'');
    let is_name = |name: &str| {
        !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-".contains(letter))
    };
    if is_literal || text.strip_prefix(OF_BODY).is_some_and(|path| path.split('.').all(is_name)) {
        return Some(Some(text));
    }
    let shown = shortened(&text);
    if text == OF_BODY.trim_end_matches('.') || UNMAPPED.iter().any(|begin| text.starts_with(begin)) {
        let why = format!("headers are not made from {shown} here");
        findings.ignore(header.line, shortened(&header.key), why);
        return Some(None);
    }
    let what = format!("the header {} is made from `{shown}`", shortened(&header.key));
    findings.wrong(
        "E0122",
        header.value.line,
        what,
        "write 'text' in quotes of its own, or integration.response.body.member",
    );
    None
}
