//! What an imported Chalice app says of itself (`load_chalice.py` writes it), as routes and sources of events.
//!
//! It comes out of the app's box, so nothing of it is taken on trust: names, paths and handlers are checked like those of a
//! file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ingle_types::front::{Authorizer, AuthorizerKind, FrontSpec, IdentitySource};
use ingle_types::schedule::Schedule;
use ingle_types::spec::DeclaredFunction;
use serde::Deserialize;

use super::super::findings::{Findings, shortened};
use super::super::front::REST_TTL_SECONDS;
use super::super::resources::name_in_arn;
use super::super::sources;
use super::super::{
    Api, BucketSource, Cors, EventSource, HttpSource, QueueSource, ScheduleSource, TopicSource,
};
use super::SCRIPT;
use crate::lambda::script_of;

/// Of one app; Chalice's own API has room for 300.
const ROUTES_MAX: usize = 2000;
const FUNCTIONS_MAX: usize = 200;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Declared {
    /// Media types whose bodies are bytes.
    pub(super) binary_types: Vec<String>,
    pub(super) routes: Vec<DeclaredRoute>,
    pub(super) functions: Vec<DeclaredSource>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct DeclaredRoute {
    path: String,
    method: String,
    /// Chalice's headers for pages of other origins, names in lower case.
    cors: Option<BTreeMap<String, String>>,
    /// One of the app's own functions, which decides who may come in.
    authorizer: Option<DeclaredAuthorizer>,
    /// Callers need a key. Which ones there are is decided at the deployment.
    #[serde(default)]
    wants_key: bool,
    guard: Option<String>,
    file: Option<String>,
    line: Option<u32>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct DeclaredAuthorizer {
    name: String,
    header: String,
    ttl_seconds: Option<u64>,
}

/// A function besides the API, with what starts it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DeclaredSource {
    kind: SourceKind,
    pub(super) name: String,
    pub(super) handler: String,
    pub(super) file: Option<String>,
    pub(super) line: Option<u32>,
    expression: String,
    queue: String,
    batch_size: u32,
    window_seconds: u32,
    concurrency: Option<u32>,
    bucket: String,
    topic: String,
    events: Vec<String>,
    prefix: Option<String>,
    suffix: Option<String>,
    /// Of another source, in words: `SNS orders`.
    origin: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SourceKind {
    /// Only who names it starts it.
    #[default]
    Lambda,
    Authorizer,
    Schedule,
    Queue,
    Bucket,
    Topic,
    Other,
}

impl Declared {
    /// `None`, with a finding, if what was imported is no app of Chalice's.
    pub(super) fn read(findings: &mut Findings, imported: &DeclaredFunction) -> Option<Self> {
        let said = imported.bindings.first().and_then(|settings| settings.get("chalice"));
        let said = said.filter(|said| said.is_object());
        let Some(said) = said else {
            let fix = "write app = Chalice(app_name=\"…\") in it";
            return wrong(findings, (None, None), "E0119", "`app` is no app of Chalice's".to_owned(), fix);
        };
        // A route may lack what this version of Chalice does not have, but not its path.
        let read =
            Self::deserialize(said).map_err(|error| format!("what the app declares can't be read: {error}"));
        let fix = "give its decorators texts and numbers, as Chalice's documentation has them";
        match read {
            Ok(said) if said.routes.len() > ROUTES_MAX || said.functions.len() > FUNCTIONS_MAX => {
                let what = format!("there are more than {ROUTES_MAX} routes or {FUNCTIONS_MAX} functions");
                wrong(findings, (None, None), "E0119", what, "divide the app")
            }
            Ok(said) => Some(said),
            Err(what) => wrong(findings, (None, None), "E0119", what, fix),
        }
    }
}

/// A finding in a file of the app.
fn wrong<Value>(
    findings: &mut Findings,
    (file, line): (Option<&str>, Option<u32>),
    code: &str,
    what: String,
    fix: &str,
) -> Option<Value> {
    let settings = std::mem::replace(&mut findings.file, file.unwrap_or(SCRIPT).to_owned());
    findings.wrong(code, line.unwrap_or(1), what, fix);
    findings.file = settings;
    None
}

/// The routes of the REST API. `prefix`: what stands before the names of the app's functions.
pub(super) fn routes(
    findings: &mut Findings,
    said: &Declared,
    (id, prefix): (&str, &str),
    stage: &str,
) -> Vec<EventSource> {
    let mut found = Vec::new();
    for route in &said.routes {
        if !route.path.starts_with('/') || route.path.chars().any(char::is_control) {
            let what = format!("the path `{}` of a route does not begin with /", shortened(&route.path));
            let place = (route.file.as_deref(), route.line);
            let _none: Option<()> =
                wrong(findings, place, "E0119", what, "write e.g. @app.route('/orders/{number}')");
            continue;
        }
        found.push(EventSource::Http(HttpSource {
            api: Api::Rest { id: id.to_owned(), binary_types: said.binary_types.clone() },
            method: Some(route.method.clone()),
            path: route.path.clone(),
            stage: stage.to_owned(),
            cors: cors(said, route),
            front: front(route, prefix),
            guard: route.guard.clone(),
            file: Some(PathBuf::from(route.file.as_deref().unwrap_or(SCRIPT))),
            line: route.line.unwrap_or(1),
        }));
    }
    found
}

/// Chalice's own authorizers get the token alone.
fn front(route: &DeclaredRoute, prefix: &str) -> Box<FrontSpec> {
    let authorizer = route.authorizer.as_ref().map(|one| Authorizer {
        name: one.name.clone(),
        kind: AuthorizerKind::Token { function: format!("{prefix}-{}", one.name), pattern: None },
        sources: vec![IdentitySource::Header(one.header.clone())],
        ttl: Duration::from_secs(one.ttl_seconds.unwrap_or(REST_TTL_SECONDS)),
    });
    Box::new(FrontSpec { authorizer, keys: route.wants_key.then(Vec::new), ..FrontSpec::default() })
}

/// One preflight answers for all methods of a path that have rules, and says so.
fn cors(said: &Declared, route: &DeclaredRoute) -> Option<Cors> {
    let headers = route.cors.as_ref()?;
    let of_path = said.routes.iter().filter(|other| other.path == route.path && other.cors.is_some());
    let methods: BTreeSet<&str> = of_path.map(|other| other.method.as_str()).collect();
    let list = |name: &str| -> Vec<String> {
        headers.get(name).map(|text| text.split(',').map(str::to_owned).collect()).unwrap_or_default()
    };
    Some(Cors {
        origins: headers.get("access-control-allow-origin").cloned().into_iter().collect(),
        methods: methods.into_iter().chain(["OPTIONS"]).map(str::to_owned).collect(),
        headers: list("access-control-allow-headers"),
        exposed_headers: list("access-control-expose-headers"),
        credentials: headers.contains_key("access-control-allow-credentials"),
        max_age: headers
            .get("access-control-max-age")
            .and_then(|age| age.parse().ok())
            .map(Duration::from_secs),
    })
}

/// What starts a function. `rule`: the name of its rule at AWS, if it has one.
pub(super) fn source(findings: &mut Findings, said: &DeclaredSource, rule: String) -> Option<EventSource> {
    let place = (said.file.as_deref(), said.line);
    if script_of(Path::new(""), &said.handler).is_none() {
        let what = format!("the handler `{}` is no module.function", shortened(&said.handler));
        return wrong(
            findings,
            place,
            "E0215",
            what,
            "give the blueprint the name of its module: Blueprint(__name__)",
        );
    }
    let line = said.line.unwrap_or(1);
    match said.kind {
        SourceKind::Lambda | SourceKind::Authorizer => None,
        SourceKind::Schedule => {
            if let Err(error) = Schedule::parse_aws(&said.expression) {
                let what = format!("the schedule `{}` can't be read: {error}", shortened(&said.expression));
                return wrong(findings, place, "E0243", what, &error.fix);
            }
            Some(EventSource::Schedule(ScheduleSource {
                name: rule,
                expression: said.expression.clone(),
                zone: None,
                is_scheduler: false,
                enabled: true,
                input: None,
                line,
            }))
        }
        SourceKind::Queue => Some(EventSource::Queue(QueueSource {
            queue: said.queue.clone(),
            batch_size: said.batch_size,
            window: Duration::from_secs(u64::from(said.window_seconds)),
            reports_failures: false,
            enabled: true,
            concurrency: said.concurrency,
            visibility: None,
            redrive: None,
            filters: Vec::new(),
            line,
        })),
        SourceKind::Bucket => Some(EventSource::Bucket(BucketSource {
            bucket: said.bucket.clone(),
            events: sources::bucket_events(findings, said.events.clone(), &said.name, line),
            prefix: said.prefix.clone(),
            suffix: said.suffix.clone(),
            line,
        })),
        SourceKind::Topic => {
            let topic = name_in_arn(&said.topic, "sns").unwrap_or(&said.topic).to_owned();
            Some(EventSource::Topic(TopicSource { topic, filter: None, line }))
        }
        SourceKind::Other => {
            let (file, line) = (said.file.as_deref().unwrap_or(SCRIPT), said.line.unwrap_or(1));
            let what = format!("{} of {}", shortened(&said.origin), shortened(&said.name));
            findings.missing_in(file, line, what, "Ingle does not send such events");
            None
        }
    }
}
