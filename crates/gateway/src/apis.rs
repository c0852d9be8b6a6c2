//! APIs of AWS in front of functions: which of several functions answers a request, and as what it sees it.
//!
//! One route has a method or none for all, and a path in which `{id}` is one segment and `{rest+}`, at its end, is all that
//! follows. As at AWS (facts of Lambda, section 5.3) text goes before `{id}`, `{id}` before `{rest+}`, all of them before
//! `$default`, and a method before none.

mod balancer;
mod cors;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use ingle_types::balancer::Rule;

use crate::front::Front;
use crate::lambda::alb_reply;
use crate::request::decoded;
use crate::service::Service;
use cors::Answers;

pub use cors::Cors;
pub(crate) use cors::{decorate as decorate_url, url_preflight};

/// The path of the route that takes what no other does.
pub const DEFAULT: &str = "$default";

/// How an event and its answer look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Format {
    /// Payload format 1.0, with the rules of a REST API. Bodies of these media types are bytes.
    Rest { binary_types: Vec<String> },
    /// Payload format 1.0 of an HTTP API.
    Http1,
    /// Payload format 2.0 of an HTTP API.
    Http2,
    /// That of an Application Load Balancer.
    Alb {
        /// An ARN.
        target_group: String,
        /// Whether names have lists of values, in events and answers, or one value.
        multi_value: bool,
    },
}

/// A route of an API.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    pub format: Format,
    /// Upper case; `None` for any.
    pub method: Option<String>,
    /// `/items/{id}`, `/files/{path+}` or [`DEFAULT`].
    pub path: String,
    /// `Prod`, or `$default`.
    pub stage: String,
    /// The id of the API, as functions see it.
    pub api: String,
    pub cors: Option<Cors>,
    /// At AWS something asks callers who they are that is not asked here. They need a key, where functions ask for keys.
    pub is_guarded: bool,
}

/// The routes of a project, with what answers them.
#[derive(Default)]
pub struct Apis {
    routes: Vec<Known>,
    /// Those of load balancers, in the order in which they are looked at.
    rules: Vec<(Rule, Known)>,
    /// A web app, which routes what comes to it.
    site: Option<Arc<Service>>,
    /// Of URLs of functions, by their labels.
    urls: BTreeMap<String, Cors>,
}

struct Known {
    route: Arc<Route>,
    segments: Vec<Segment>,
    front: Arc<Front>,
    service: Arc<Service>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Segment {
    Text(String),
    One(String),
    Rest(String),
    /// Of [`DEFAULT`].
    Everything,
}

/// Names and values.
type Parameters = Vec<(String, String)>;

/// What a request matched. It travels with the request's head.
#[derive(Clone, Debug)]
pub(crate) struct Matched {
    pub(crate) route: Arc<Route>,
    /// As they were sent.
    pub(crate) parameters: Parameters,
    /// Whether a stage stands before the path that was sent.
    pub(crate) has_stage: bool,
    pub(crate) front: Arc<Front>,
}

/// Who answers.
pub(crate) enum Chosen<'a> {
    Function(&'a Arc<Service>, Matched),
    Answer(Response<Bytes>),
}

impl Apis {
    pub fn add(&mut self, route: Route, front: Arc<Front>, service: Arc<Service>) {
        let segments = segments(&route.path);
        self.routes.push(Known { route: Arc::new(route), segments, front, service });
    }

    /// Lets a function answer what fits the rule of a load balancer and is for no route that names its path.
    pub fn add_rule(&mut self, rule: Rule, route: Route, front: Arc<Front>, service: Arc<Service>) {
        let place = self.rules.partition_point(|(other, _)| other.priority <= rule.priority);
        let known = Known { route: Arc::new(route), segments: Vec::new(), front, service };
        self.rules.insert(place, (rule, known));
    }

    /// Lets a web app answer everything that names no function.
    pub fn set_site(&mut self, service: Arc<Service>) {
        self.site = Some(service);
    }

    /// Applies these rules at the URL of a function.
    pub fn set_url_cors(&mut self, label: String, cors: Cors) {
        self.urls.insert(label, cors);
    }

    pub(crate) fn url_cors(&self, label: &str) -> Option<&Cors> {
        self.urls.get(label)
    }

    pub(crate) fn site(&self) -> Option<&Arc<Service>> {
        self.site.as_ref()
    }

    pub fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.rules.is_empty()
    }

    /// Who answers a request, or the answer of an API for what it does not have.
    pub(crate) fn choose(&self, head: &Parts) -> Chosen<'_> {
        let path = head.uri.path();
        // At AWS an API has its stage in front of all paths, where a proxy in between may have left it.
        let within = |known: &Known| {
            let stage = &known.route.stage;
            let rest = path.strip_prefix('/')?.strip_prefix(stage.as_str())?;
            (stage != DEFAULT && (rest.is_empty() || rest.starts_with('/'))).then_some(rest)
        };
        let plain = self.best(head, |_| Some(path)).map(|found| (found, false));
        // A route that takes any text where another API has its stage is not what the caller means.
        let is_meant = plain.as_ref().is_some_and(|((known, _), _)| known.begins_with_text());
        let staged = if is_meant { None } else { self.best(head, within).map(|found| (found, true)) };
        let found = staged.or(plain);
        // At AWS a load balancer has an address of its own. Here it takes what no API names.
        let is_named = found.as_ref().is_some_and(|((known, _), _)| known.route.path != DEFAULT);
        let rule = self.rules.iter().find(|(rule, _)| !is_named && balancer::fits(rule, head));
        let found = rule.map(|(_, known)| ((known, Vec::new()), false)).or(found);
        let Some(((known, parameters), has_stage)) = found else { return Chosen::Answer(self.unknown(head)) };
        if head.method == Method::OPTIONS
            && known.route.method.as_deref() != Some("OPTIONS")
            && let Some(cors) = &known.route.cors
        {
            let is_rest = matches!(known.route.format, Format::Rest { .. });
            let answers = if is_rest { Answers::Rest } else { Answers::Http };
            return Chosen::Answer(cors::preflight(cors, answers, &head.headers));
        }
        let (route, front) = (known.route.clone(), known.front.clone());
        Chosen::Function(&known.service, Matched { route, parameters, has_stage, front })
    }

    /// The route that fits best. For `OPTIONS` also one that answers for its other methods.
    fn best<'a>(
        &self,
        head: &Parts,
        path: impl Fn(&Known) -> Option<&'a str>,
    ) -> Option<(&Known, Parameters)> {
        let is_options = head.method == Method::OPTIONS;
        let mut best: Option<(Rank, &Known, Parameters)> = None;
        for known in &self.routes {
            let has_method =
                known.route.method.as_deref().is_none_or(|method| method == head.method.as_str());
            let may_ask = is_options && known.route.cors.is_some();
            if !has_method && !may_ask {
                continue;
            }
            let Some(parameters) = path(known).and_then(|path| matches(&known.segments, path)) else {
                continue;
            };
            let is_for_method = has_method && known.route.method.is_some();
            let rank = Rank { segments: known.segments.iter().map(Segment::rank).collect(), is_for_method };
            if best.as_ref().is_none_or(|(other, ..)| rank.is_before(other)) {
                best = Some((rank, known, parameters));
            }
        }
        best.map(|(_, known, parameters)| (known, parameters))
    }

    /// REST APIs say of all that they don't have that a token is missing.
    fn unknown(&self, head: &Parts) -> Response<Bytes> {
        if self.routes.is_empty() && !self.rules.is_empty() {
            return alb_reply::page(StatusCode::NOT_FOUND);
        }
        let are_rest = self.routes.iter().all(|known| matches!(known.route.format, Format::Rest { .. }));
        if are_rest && !self.routes.is_empty() {
            return message(StatusCode::FORBIDDEN, "Missing Authentication Token");
        }
        tracing::debug!(method = %head.method, path = head.uri.path(), "no API has this route");
        message(StatusCode::NOT_FOUND, "Not Found")
    }
}

impl Known {
    fn begins_with_text(&self) -> bool {
        matches!(self.segments.first(), Some(Segment::Text(_)))
    }
}

struct Rank {
    /// Smaller goes before greater, segment by segment.
    segments: Vec<u8>,
    is_for_method: bool,
}

impl Rank {
    fn is_before(&self, other: &Self) -> bool {
        match self.segments.cmp(&other.segments) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Greater => false,
            // What is in the file first wins.
            std::cmp::Ordering::Equal => self.is_for_method && !other.is_for_method,
        }
    }
}

impl Segment {
    fn rank(&self) -> u8 {
        match self {
            Self::Text(_) => 0,
            Self::One(_) => 1,
            Self::Rest(_) => 2,
            Self::Everything => 3,
        }
    }
}

fn segments(path: &str) -> Vec<Segment> {
    if path == DEFAULT {
        return vec![Segment::Everything];
    }
    let parts = path.split('/').filter(|part| !part.is_empty());
    parts
        .map(|part| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(name) => match name.strip_suffix('+') {
                Some(name) => Segment::Rest(name.to_owned()),
                None => Segment::One(name.to_owned()),
            },
            None => Segment::Text(part.to_owned()),
        })
        .collect()
}

/// The path of a route without the names of its parameters: routes of one shape take the same requests.
pub fn shape(route: &str) -> String {
    let shown = |segment: &Segment| match segment {
        Segment::Text(text) => text.clone(),
        Segment::One(_) => "{}".to_owned(),
        Segment::Rest(_) => "{+}".to_owned(),
        Segment::Everything => DEFAULT.to_owned(),
    };
    segments(route).iter().map(shown).collect::<Vec<String>>().join("/")
}

/// What a path has in the places of a route's parameters; `None` if it does not fit the route.
pub(crate) fn parameters(route: &str, path: &str) -> Option<Parameters> {
    matches(&segments(route), path)
}

/// The values of the parameters, as they were sent. A slash at the end makes no other path.
fn matches(segments: &[Segment], path: &str) -> Option<Parameters> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut rest = (!path.is_empty()).then_some(path);
    let mut parameters = Vec::new();
    for segment in segments {
        let next =
            || rest.map(|rest| rest.split_once('/').map_or((rest, None), |(one, rest)| (one, Some(rest))));
        match segment {
            Segment::Everything => return Some(Vec::new()),
            Segment::Rest(name) => {
                parameters.push((name.clone(), rest?.to_owned()));
                return Some(parameters);
            }
            Segment::Text(text) => {
                let (one, remaining) = next()?;
                if one != text && decoded(one) != *text {
                    return None;
                }
                rest = remaining;
            }
            Segment::One(name) => {
                let (one, remaining) = next()?;
                if one.is_empty() {
                    return None;
                }
                parameters.push((name.clone(), one.to_owned()));
                rest = remaining;
            }
        }
    }
    rest.is_none().then_some(parameters)
}

pub(crate) fn message(status: StatusCode, text: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(format!("{{\"message\":\"{text}\"}}")));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response
}

/// What an HTTP API makes of an answer; a REST API leaves it to the function.
pub(crate) fn decorate(route: &Route, asked: &HeaderMap, answered: &mut HeaderMap) {
    if let Some(cors) = route.cors.as_ref().filter(|_| !matches!(route.format, Format::Rest { .. })) {
        cors::decorate(cors, asked, answered);
    }
}

#[cfg(test)]
mod tests;
