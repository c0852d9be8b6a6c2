//! What stands in front of a route: who may come in ([`authorizer`], [`policy`], [`jwt`]).
//!
//! All of it happens before the function runs, and in the order of API Gateway (facts of Lambda, section 5.3). What can't be decided
//! is refused: a route never is open because its authorizer is broken.

mod answer;
mod authorizer;
mod identity;
mod policy;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use ingle_types::front::{Authorizer, FrontSpec};
use serde_json::Value;

use crate::apis::Matched;
use crate::hosts::label_of;
use crate::service::{Door, Service};
use authorizer::Gate;

/// What one route has in front of it; nothing by default.
#[derive(Default)]
pub struct Front {
    gate: Option<Arc<Gate>>,
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front").field("has_gate", &self.gate.is_some()).finish()
    }
}

/// Makes what stands in front of the routes of a project. Routes of an API that have one authorizer share it, with what it
/// remembers.
pub struct Builder<'a> {
    /// Functions by label.
    services: &'a BTreeMap<String, Arc<Service>>,
    /// With their APIs.
    gates: Vec<(String, Arc<Gate>)>,
}

/// What an authorizer says of the caller: `requestContext.authorizer` of events. It travels with the request's head.
#[derive(Clone, Debug)]
pub(crate) struct Known(pub(crate) Arc<Value>);

impl Known {
    pub(crate) fn of(head: &Parts) -> Option<&Value> {
        head.extensions.get::<Self>().map(|known| &*known.0)
    }
}

/// What is wrong with a declaration, each with its code: an expression that is none.
pub fn faults(spec: &FrontSpec) -> Vec<(&'static str, String)> {
    let pattern = spec.authorizer.as_ref().and_then(authorizer::fault);
    pattern.map(|fault| ("E0120", fault)).into_iter().collect()
}

impl<'a> Builder<'a> {
    pub fn new(services: &'a BTreeMap<String, Arc<Service>>) -> Self {
        Self { services, gates: Vec::new() }
    }

    /// `api`: the API's id.
    pub fn front(&mut self, api: &str, spec: &FrontSpec) -> Arc<Front> {
        let gate = spec.authorizer.as_ref().map(|authorizer| self.gate(api, authorizer));
        Arc::new(Front { gate })
    }

    fn gate(&mut self, api: &str, authorizer: &Authorizer) -> Arc<Gate> {
        let mut known = self.gates.iter();
        if let Some((_, gate)) = known.find(|(of, gate)| of == api && gate.is_of(authorizer)) {
            return gate.clone();
        }
        let service = authorizer.function().and_then(|name| self.services.get(&label_of(name)));
        let gate = Arc::new(Gate::new(authorizer.clone(), service.cloned()));
        self.gates.push((api.to_owned(), gate.clone()));
        gate
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
    let Some(gate) = &matched.front.gate else { return Ok(()) };
    match gate.admit(door, head, matched).await {
        Ok(known) => {
            head.extensions.insert(Known(Arc::new(known)));
            Ok(())
        }
        Err(refusal) => Err(answer::refused(&matched.route, &head.headers, refusal)),
    }
}
