//! What stands in front of a route: who may come in ([`authorizer`], [`policy`], [`jwt`], [`keys`]), and with what ([`validation`]).
//!
//! All of it happens before the function runs, and in the order of API Gateway (facts of Lambda, section 5.3). What can't be decided
//! is refused: a route never is open because its authorizer is broken.

mod answer;
mod authorizer;
mod identity;
mod integration;
mod jwt;
pub(crate) mod keys;
mod policy;
mod validation;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use ingle_types::datum::Body;
use ingle_types::front::{Authorizer, FrontSpec};
use serde_json::Value;

use crate::apis::Matched;
use crate::auth::Guard;
use crate::hosts::label_of;
use crate::service::{Door, Service};
use authorizer::Gate;
use integration::{Asked as Seen, Mapping};
use jwt::Tokens;
use keys::{Keys, OfProject};
use validation::Checks;

/// What one route has in front of it; nothing by default.
#[derive(Default)]
pub struct Front {
    asked: Option<Asked>,
    /// None of a route that wants no key.
    keys: Option<Keys>,
    /// Of which a token must have one.
    scopes: Vec<String>,
    checks: Checks,
    /// None of a route without templates; the error of one whose templates are none.
    mapping: Option<Result<Mapping, String>>,
}

/// Who decides.
#[derive(Clone)]
enum Asked {
    Function(Arc<Gate>),
    Issuer(Arc<Tokens>),
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front").field("asks", &self.asked.is_some()).finish_non_exhaustive()
    }
}

/// Makes what stands in front of the routes of a project. Routes of an API that have one authorizer share it, with what it
/// remembers.
pub struct Builder<'a> {
    /// Functions by label.
    services: &'a BTreeMap<String, Arc<Service>>,
    /// With their APIs.
    known: Vec<(String, Asked)>,
    /// Has the keys of callers of APIs.
    guard: Guard,
    keys: Arc<OfProject>,
}

/// What an authorizer says of the caller: `requestContext.authorizer` of events. It travels with the request's head.
#[derive(Clone, Debug)]
pub(crate) struct Known(pub(crate) Arc<Value>);

impl Known {
    pub(crate) fn of(head: &Parts) -> Option<&Value> {
        head.extensions.get::<Self>().map(|known| &*known.0)
    }
}

impl Asked {
    fn is_of(&self, authorizer: &Authorizer) -> bool {
        match self {
            Self::Function(gate) => gate.is_of(authorizer),
            Self::Issuer(tokens) => tokens.is_of(authorizer),
        }
    }
}

/// What is wrong with a declaration, each with its code: an expression that is none.
pub fn faults(spec: &FrontSpec) -> Vec<(&'static str, String)> {
    let pattern = spec.authorizer.as_ref().and_then(authorizer::fault);
    let patterns = pattern.map(|fault| ("E0120", fault));
    let schemas = validation::faults(&spec.validation).map(|fault| ("E0121", fault));
    let templates = spec.integration.iter().flat_map(integration::faults).map(|fault| ("E0122", fault));
    patterns.into_iter().chain(schemas).chain(templates).collect()
}

impl<'a> Builder<'a> {
    /// `specs`: of all routes.
    pub fn new<'b>(
        services: &'a BTreeMap<String, Arc<Service>>,
        guard: Guard,
        specs: impl Iterator<Item = &'b FrontSpec>,
    ) -> Self {
        let keys = Arc::new(OfProject::new(specs.flat_map(|spec| spec.keys.iter().flatten())));
        Self { services, known: Vec::new(), guard, keys }
    }

    /// `api`: the API's id.
    pub fn front(&mut self, api: &str, spec: &FrontSpec) -> Arc<Front> {
        let asked = spec.authorizer.as_ref().map(|authorizer| self.asked(api, authorizer));
        let keys = spec.keys.as_ref().map(|keys| Keys::new(self.guard.clone(), keys, self.keys.clone()));
        let checks = Checks::new(&spec.validation);
        let mapping = spec.integration.as_ref().map(Mapping::new);
        Arc::new(Front { asked, keys, scopes: spec.scopes.clone(), checks, mapping })
    }

    fn asked(&mut self, api: &str, authorizer: &Authorizer) -> Asked {
        let mut known = self.known.iter();
        if let Some((_, asked)) = known.find(|(of, asked)| of == api && asked.is_of(authorizer)) {
            return asked.clone();
        }
        let service = authorizer.function().and_then(|name| self.services.get(&label_of(name)));
        let asked = match Tokens::new(authorizer) {
            Some(tokens) => Asked::Issuer(Arc::new(tokens)),
            None => Asked::Function(Arc::new(Gate::new(authorizer.clone(), service.cloned()))),
        };
        self.known.push((api.to_owned(), asked.clone()));
        asked
    }
}

/// A request behind templates.
pub(crate) struct Mapped {
    front: Arc<Front>,
    seen: Seen,
    /// What the function gets, as JSON text.
    pub(crate) event: String,
}

/// The event that a route's templates make of a request; `None` if it has none. `request`: makes the event of format 1.0.
///
/// # Errors
/// The answer to a request of which they make none.
pub(crate) fn mapped(
    head: &Parts,
    body: &Body,
    request: impl FnOnce(&Matched) -> Value,
) -> Result<Option<Mapped>, Response<Bytes>> {
    let Some(matched) = head.extensions.get::<Matched>() else { return Ok(None) };
    let Some(mapping) = &matched.front.mapping else { return Ok(None) };
    let Ok(mapping) = mapping else { return Err(integration::broken("it is none, as the start has said")) };
    let seen = Seen::of(&mut request(matched));
    let event = mapping.event(head, &body.joined(), &seen)?;
    Ok(Some(Mapped { front: matched.front.clone(), seen, event }))
}

impl Mapped {
    /// The answer of a route behind which there is no function; `None` for every other one.
    pub(crate) fn without_function(&self) -> Option<Response<Bytes>> {
        let mapping = self.front.mapping.as_ref()?.as_ref().ok()?;
        mapping.is_mock().then(|| mapping.mock(&self.event, &self.seen))
    }

    /// The answer to what the function returned, or how it failed, with the error's message; both as JSON text.
    pub(crate) fn answer(&self, returned: &str, error: Option<&str>) -> Response<Bytes> {
        match &self.front.mapping {
            Some(Ok(mapping)) => mapping.answer(returned, error, &self.seen),
            _ => integration::broken("there is none"),
        }
    }
}

/// Looks at the body of a request that was let in.
///
/// # Errors
/// The answer to one that is not what its model says.
pub(crate) fn check_body(head: &Parts, body: &Body) -> Result<(), Response<Bytes>> {
    match head.extensions.get::<Matched>() {
        Some(matched) if matched.front.checks.has_models() => matched.front.checks.body(head, &body.joined()),
        _ => Ok(()),
    }
}

/// Lets a request in, before its body is read.
///
/// # Errors
/// The answer of the API to one that may not come in, or about whom nothing could be decided.
pub(crate) async fn admit(
    door: &Arc<Door>,
    head: &mut Parts,
    matched: &Matched,
) -> Result<(), Response<Bytes>> {
    let front = &matched.front;
    let refused = |head: &Parts, refusal| answer::refused(&matched.route, &head.headers, refusal);
    let said = match &front.asked {
        None => Ok(None),
        Some(Asked::Function(gate)) => gate.admit(door, head, matched).await.map(Some),
        Some(Asked::Issuer(tokens)) => tokens.admit(door, head, matched, &front.scopes).await.map(Some),
    };
    match said {
        Ok(Some(known)) => drop(head.extensions.insert(Known(Arc::new(known)))),
        Ok(None) => {}
        Err(refusal) => return Err(refused(head, refusal)),
    }
    if let Some(keys) = &front.keys {
        let shown = keys.admit(head).map_err(|refusal| refused(head, refusal))?;
        head.extensions.insert(shown);
    }
    front.checks.head(head)
}
