//! Functions that decide who may come in: what they are asked, and what is remembered of their answers.
//!
//! They run as every function does, as invocations of their app.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::request::Parts;
use ingle_types::event::Trace;
use ingle_types::front::{Authorizer, AuthorizerFormat, AuthorizerKind};
use ingle_types::ids::InvocationId;
use regex::Regex;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::answer::Refusal;
use super::identity::{Identity, Seen};
use super::policy::{Decision, Verdict};
use crate::apis::{Format, Matched};
use crate::lambda::{self, ACCOUNT, rest_event};
use crate::request::decoded;
use crate::service::{Door, Service, trace};

/// Identities that are remembered for one authorizer.
const KEPT_MAX: usize = 1000;
/// As REST APIs wait for a function.
const PATIENCE: Duration = Duration::from_secs(29);
/// What a function raises that does not know the caller.
const UNAUTHORIZED: &str = "Unauthorized";

/// One authorizer of one API.
pub(super) struct Gate {
    authorizer: Authorizer,
    /// None of an authorizer whose function is not served.
    service: Option<Arc<Service>>,
    /// How a token must begin.
    pattern: Option<Result<Regex, regex::Error>>,
    kept: Mutex<Kept>,
}

/// Decisions by identity, with the end of each.
#[derive(Default)]
struct Kept(HashMap<Vec<Vec<String>>, (Instant, Arc<Decision>)>);

impl Kept {
    fn get(&self, identity: &[Vec<String>], now: Instant) -> Option<Arc<Decision>> {
        self.0.get(identity).filter(|(end, _)| now < *end).map(|(_, decision)| decision.clone())
    }

    fn keep(&mut self, identity: Vec<Vec<String>>, end: Instant, decision: Arc<Decision>, now: Instant) {
        if self.0.len() >= KEPT_MAX && !self.0.contains_key(&identity) {
            self.0.retain(|_, (end, _)| now < *end);
            if self.0.len() >= KEPT_MAX {
                let first =
                    self.0.iter().min_by_key(|(_, (end, _))| *end).map(|(identity, _)| identity.clone());
                first.map(|identity| self.0.remove(&identity));
            }
        }
        self.0.insert(identity, (end, decision));
    }
}

/// A request that an authorizer is asked about.
struct Question<'a> {
    head: &'a Parts,
    matched: &'a Matched,
    seen: Seen<'a>,
    identity: &'a [String],
    arn: &'a str,
    id: InvocationId,
    trace: Trace,
}

/// What is wrong with an authorizer as it is declared.
pub(super) fn fault(authorizer: &Authorizer) -> Option<String> {
    let AuthorizerKind::Token { pattern: Some(pattern), .. } = &authorizer.kind else { return None };
    let error = expression(pattern).err()?;
    let name = &authorizer.name;
    Some(format!("the expression for tokens of the authorizer {name} can't be read: {error}"))
}

fn expression(pattern: &str) -> Result<Regex, regex::Error> {
    Regex::new(&format!("^(?:{pattern})"))
}

impl Gate {
    pub(super) fn new(authorizer: Authorizer, service: Option<Arc<Service>>) -> Self {
        let pattern = match &authorizer.kind {
            AuthorizerKind::Token { pattern, .. } => pattern.as_deref().map(expression),
            AuthorizerKind::Request { .. } | AuthorizerKind::Jwt { .. } => None,
        };
        Self { authorizer, service, pattern, kept: Mutex::default() }
    }

    /// What the route's function is told of the caller, if it may come in.
    pub(super) async fn admit(&self, door: &Door, head: &Parts, matched: &Matched) -> Result<Value, Refusal> {
        let (id, now, began) = (InvocationId::random(), door.rooms.clock.now(), Instant::now());
        let trace = trace(head, id);
        let seen = Seen::of(head, matched, (id, &trace), now, self.takes_v2());
        let Some(Identity { told: identity, values }) = seen.identity(&self.authorizer.sources) else {
            return Err(Refusal::Unauthorized);
        };
        self.check_token(&identity)?;
        let arn = arn(&door.site.region, head, matched, |path| path.to_owned());
        let known = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&values, began);
        let decision = match known {
            Some(decision) => decision,
            None => {
                let question = Question { head, matched, seen, identity: &identity, arn: &arn, id, trace };
                let decision = Arc::new(self.ask(question).await?);
                if !self.authorizer.ttl.is_zero() {
                    let (now, kept) = (Instant::now(), decision.clone());
                    let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                    all.keep(values, now + self.authorizer.ttl, kept, now);
                }
                decision
            }
        };
        // A path that was written in another way leads to the same route, so both ways have to be allowed.
        let plain = self::arn(&door.site.region, head, matched, decoded);
        for arn in [&arn, &plain] {
            match decision.about(arn) {
                Verdict::Allowed => {}
                Verdict::NotAllowed => return Err(Refusal::Denied { is_explicit: false }),
                Verdict::Forbidden => return Err(Refusal::Denied { is_explicit: true }),
            }
        }
        Ok(told(&decision, &matched.route.format, began.elapsed()))
    }

    pub(super) fn is_of(&self, authorizer: &Authorizer) -> bool {
        self.authorizer == *authorizer
    }

    fn takes_v2(&self) -> bool {
        let AuthorizerKind::Request { format, .. } = self.authorizer.kind else { return false };
        format != AuthorizerFormat::V1
    }

    /// A token that does not look like one is refused without asking.
    fn check_token(&self, identity: &[String]) -> Result<(), Refusal> {
        match (&self.pattern, identity.first()) {
            (None, _) => Ok(()),
            (Some(Ok(pattern)), Some(token)) if pattern.is_match(token) => Ok(()),
            (Some(Err(error)), _) => Err(self.broken(&format!("its expression can't be read: {error}"))),
            (Some(Ok(_)), _) => Err(Refusal::Unauthorized),
        }
    }

    async fn ask(&self, question: Question<'_>) -> Result<Decision, Refusal> {
        let Some(service) = &self.service else { return Err(self.broken("its function is not served")) };
        let Some(door) = service.door().await else {
            return Err(self.broken("its function can't be served"));
        };
        let is_rest = matches!(question.matched.route.format, Format::Rest { .. });
        let summary = format!("authorize {} {}", question.head.method, question.head.uri.path());
        let (id, trace) = (question.id, question.trace.clone());
        let asked = lambda::ask(&door, (id, trace), self.event(question).to_string(), summary);
        let said = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(said)) => said,
            Ok(Err(Some(failure))) if failure.message == UNAUTHORIZED => return Err(Refusal::Unauthorized),
            Ok(Err(Some(failure))) => {
                return Err(self.broken(&format!("its function failed: {}", failure.message)));
            }
            Ok(Err(None)) => return Err(self.broken("its function has not run")),
            Err(_elapsed) => return Err(self.broken("its function took too long")),
        };
        let parsed = serde_json::from_slice::<Value>(&said).map_err(|error| error.to_string());
        let decision = parsed.and_then(|said| match &self.authorizer.kind {
            AuthorizerKind::Request { format: AuthorizerFormat::V2Simple, .. } => Decision::simple(&said),
            _ => Decision::policy(&said, is_rest),
        });
        decision.map_err(|what| self.broken(&format!("what its function returned is of no use: {what}")))
    }

    fn broken(&self, what: &str) -> Refusal {
        tracing::warn!(code = "E0512", authorizer = self.authorizer.name, "nobody is let in: {what}");
        Refusal::Broken
    }

    /// Facts of Lambda, section 4.1.
    fn event(&self, question: Question<'_>) -> Value {
        let Question { matched, seen: Seen { event: mut request, .. }, identity, arn, .. } = question;
        if let AuthorizerKind::Token { .. } = self.authorizer.kind {
            let token = identity.first();
            return json!({"type": "TOKEN", "methodArn": arn, "authorizationToken": token});
        }
        let mut event = Map::new();
        let mut take = |event: &mut Map<String, Value>, key: &str| {
            if let Some(value) = request.get_mut(key).map(Value::take) {
                event.insert(key.to_owned(), value);
            }
        };
        if self.takes_v2() {
            event.insert("version".to_owned(), "2.0".into());
            event.insert("type".to_owned(), "REQUEST".into());
            event.insert("routeArn".to_owned(), arn.into());
            event.insert("identitySource".to_owned(), json!(identity));
            for key in V2_MEMBERS {
                take(&mut event, key);
            }
            return Value::Object(event);
        }
        take(&mut event, "version");
        event.insert("type".to_owned(), "REQUEST".into());
        event.insert("methodArn".to_owned(), arn.into());
        if !matches!(matched.route.format, Format::Rest { .. }) {
            let joined = identity.join(",");
            event.insert("identitySource".to_owned(), joined.as_str().into());
            event.insert("authorizationToken".to_owned(), joined.into());
        }
        for key in V1_MEMBERS {
            take(&mut event, key);
        }
        Value::Object(event)
    }
}

/// Of the event of a request, without its body.
const V1_MEMBERS: [&str; 10] = [
    "resource",
    "path",
    "httpMethod",
    "headers",
    "multiValueHeaders",
    "queryStringParameters",
    "multiValueQueryStringParameters",
    "pathParameters",
    "stageVariables",
    "requestContext",
];
const V2_MEMBERS: [&str; 9] = [
    "routeKey",
    "rawPath",
    "rawQueryString",
    "cookies",
    "headers",
    "queryStringParameters",
    "requestContext",
    "pathParameters",
    "stageVariables",
];

/// The route as policies name it. A slash at the end makes no other route.
fn arn(region: &str, head: &Parts, matched: &Matched, written: impl Fn(&str) -> String) -> String {
    let route = &matched.route;
    let path = written(&rest_event::path(matched, head.uri.path()));
    let (method, path) = (&head.method, path.trim_matches('/'));
    format!("arn:aws:execute-api:{region}:{ACCOUNT}:{}/{}/{method}/{path}", route.api, route.stage)
}

/// `requestContext.authorizer`. A REST API makes texts of all that the function said.
fn told(decision: &Decision, format: &Format, took: Duration) -> Value {
    if *format == Format::Http2 {
        return json!({"lambda": decision.context});
    }
    let is_rest = matches!(format, Format::Rest { .. });
    let as_told = |value: &Value| match value {
        Value::String(_) => value.clone(),
        other if is_rest => Value::String(other.to_string()),
        other => other.clone(),
    };
    let context = decision.context.iter().filter(|(_, value)| !value.is_null());
    let mut told: Map<String, Value> = context.map(|(name, value)| (name.clone(), as_told(value))).collect();
    if let Some(principal) = &decision.principal {
        told.insert("principalId".to_owned(), principal.as_str().into());
    }
    let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    told.insert("integrationLatency".to_owned(), took.into());
    Value::Object(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(name: &str) -> Arc<Decision> {
        Arc::new(Decision::simple(&json!({"isAuthorized": true, "context": {"name": name}})).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn decisions_are_forgotten_in_time_and_never_are_too_many() {
        let (mut kept, start) = (Kept::default(), Instant::now());
        let key = |number: usize| vec![vec![number.to_string()]];
        kept.keep(key(0), start + Duration::from_secs(2), decision("a"), start);
        assert!(kept.get(&key(0), start + Duration::from_secs(1)).is_some());
        assert!(kept.get(&key(0), start + Duration::from_secs(2)).is_none());
        assert!(kept.get(&key(1), start).is_none());
        for number in 0..KEPT_MAX + 5 {
            let end = start + Duration::from_secs(100 + number as u64);
            kept.keep(key(number), end, decision("b"), start);
        }
        assert_eq!(kept.0.len(), KEPT_MAX);
        assert!(kept.get(&key(4), start).is_none(), "the first to end goes first");
        assert!(kept.get(&key(5), start).is_some());
        let later = start + Duration::from_secs(5000);
        kept.keep(key(7777), later, decision("c"), later);
        assert_eq!(kept.0.len(), 1, "what is over goes before what is not");
    }

    #[test]
    fn a_rest_api_tells_texts() {
        let said = json!({"principalId": "ada", "policyDocument": {"Statement": []},
            "context": {"text": "a", "number": 7, "flag": true, "nothing": null}});
        let decision = Decision::policy(&said, true).unwrap();
        let rest = told(&decision, &Format::Rest { binary_types: Vec::new() }, Duration::from_millis(3));
        let expected = json!({"text": "a", "number": "7", "flag": "true", "principalId": "ada", "integrationLatency": 3});
        assert_eq!(rest, expected);
        let http = told(&decision, &Format::Http2, Duration::ZERO);
        assert_eq!(http, json!({"lambda": {"text": "a", "number": 7, "flag": true, "nothing": null}}));
    }
}
