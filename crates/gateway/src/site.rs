//! What the HTTP door knows of one app: its routes, and how each function answers.

use std::collections::{HashMap, HashSet};

use ingle_types::ids::FunctionName;
use ingle_types::problem::Problem;
use ingle_types::spec::{
    AppSpec, AuthLevel, BindingKind, CorsOptions, Dialect, FunctionSpec, HttpOptions, InvokeMode, TriggerSpec,
};

use crate::response;
use crate::route::template::Template;
use crate::route::{PrefixError, RouteEntry, Router};

/// The routes of one app. Replaced as a whole when the app changes.
#[derive(Debug)]
pub struct Site {
    pub(crate) name: String,
    pub(crate) router: Router,
    /// The binding whose value is the response; `None`: the function has no HTTP output.
    pub(crate) response_bindings: HashMap<FunctionName, Option<String>>,
    pub(crate) http: HttpOptions,
    pub(crate) cors: Option<CorsOptions>,
    /// What a route asks of its caller.
    pub(crate) levels: HashMap<FunctionName, AuthLevel>,
    /// Functions that take and give bodies in pieces.
    pub(crate) streaming: HashSet<FunctionName>,
    /// Functions that take an event instead of the request.
    pub(crate) handlers: HashSet<FunctionName>,
    /// Those of them whose URLs answer in pieces, if their runtimes do.
    pub(crate) answering_in_pieces: HashSet<FunctionName>,
    /// The one that takes every path, if there is one: also those that are none for others.
    pub(crate) of_all_paths: Option<FunctionName>,
    /// The region of AWS that they believe to be in.
    pub(crate) region: String,
    /// Whether `/admin` and `/runtime` are doors of Azure's, and no paths of the app.
    pub(crate) has_admin_doors: bool,
    /// Whether functions learn the address of the client, as web apps do.
    pub(crate) tells_client: bool,
    /// Everything below is told by the doors for tools only.
    pub(crate) functions: Vec<FunctionSpec>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) extension_bundle: Option<String>,
    /// Whether `/` has a page when no function has it.
    pub(crate) home_page: bool,
}

impl Site {
    /// Builds the table. Functions whose route can't be read are left out and named in the problems.
    ///
    /// # Errors
    /// [`PrefixError`]: no route can work.
    pub fn new(app: &AppSpec) -> Result<(Self, Vec<Problem>), PrefixError> {
        let mut problems = Vec::new();
        let mut entries = Vec::new();
        let (mut response_bindings, mut levels) = (HashMap::new(), HashMap::new());
        for function in app.functions.iter().filter(|function| !function.disabled) {
            let Some(trigger) = function.trigger.http() else { continue };
            match Template::parse(&trigger.route) {
                Ok(template) => {
                    response_bindings.insert(function.name.clone(), response_binding(function));
                    levels.insert(function.name.clone(), trigger.auth_level);
                    let methods = trigger.methods.clone();
                    entries.push(RouteEntry { function: function.name.clone(), template, methods });
                }
                Err(error) => problems.push(route_problem(function, &trigger.route, &error)),
            }
        }
        let mut http = app.host.http.clone();
        http.custom_headers.retain(|(name, value)| match response::header(name, value) {
            Ok(_) => true,
            Err(fault) => {
                let problem = Problem::error("E0110", format!("a custom header can't be sent: {fault}"));
                problems.push(problem.at("host.json", None).fix("correct extensions.http.customHeaders"));
                false
            }
        });
        let router = Router::new(&app.host.http.route_prefix, entries)?;
        let site = Self {
            name: app.name.clone(),
            router,
            response_bindings,
            http,
            cors: app.host.cors.clone(),
            levels,
            streaming: names(&app.functions, |function| function.streams),
            handlers: names(&app.functions, |function| matches!(function.trigger, TriggerSpec::Handler(_))),
            answering_in_pieces: names(&app.functions, |function| match &function.trigger {
                TriggerSpec::Handler(handler) => handler.invoke_mode == InvokeMode::ResponseStream,
                _ => false,
            }),
            of_all_paths: of_all_paths(&app.functions, app.dialect),
            region: region(&app.functions),
            has_admin_doors: app.dialect.is_azure(),
            tells_client: app.dialect == Dialect::Web,
            functions: app.functions.clone(),
            problems: app.problems.clone(),
            extension_bundle: app.host.extension_bundle.clone(),
            home_page: true,
        };
        Ok((site, problems))
    }

    /// Says whether `/` has a page (`AzureWebJobsDisableHomepage`).
    #[must_use]
    pub fn home_page(mut self, is_shown: bool) -> Self {
        self.home_page = is_shown;
        self
    }
}

fn names(functions: &[FunctionSpec], is_one: impl Fn(&FunctionSpec) -> bool) -> HashSet<FunctionName> {
    functions.iter().filter(|function| is_one(function)).map(|function| function.name.clone()).collect()
}

fn of_all_paths(functions: &[FunctionSpec], dialect: Dialect) -> Option<FunctionName> {
    let takes_all = |function: &&FunctionSpec| match &function.trigger {
        TriggerSpec::Handler(handler) => handler.url.as_ref().is_some_and(|url| url.route == "{*path}"),
        TriggerSpec::Http(http) => http.route == "{*path}" && dialect == Dialect::Web,
        _ => false,
    };
    functions
        .iter()
        .filter(|function| !function.disabled)
        .find(takes_all)
        .map(|function| function.name.clone())
}

fn region(functions: &[FunctionSpec]) -> String {
    let mut regions = functions.iter().filter_map(|function| match &function.trigger {
        TriggerSpec::Handler(handler) => Some(handler.region.clone()),
        _ => None,
    });
    regions.next().unwrap_or_default()
}

fn response_binding(function: &FunctionSpec) -> Option<String> {
    let output = function.bindings.iter().find(|binding| matches!(binding.kind, BindingKind::HttpOutput));
    output.map(|binding| binding.name.clone())
}

fn route_problem(function: &FunctionSpec, route: &str, error: &dyn std::error::Error) -> Problem {
    let mut cause = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        cause = format!("{cause}: {inner}");
        source = inner.source();
    }
    let problem = Problem::error("E0232", format!("the route `{route}` can't be read: {cause}"))
        .function(function.name.as_str())
        .fix("correct the route, e.g. `orders/{id:int}`");
    match function.location.as_deref().and_then(|place| place.rsplit_once(':')) {
        Some((file, line)) => problem.at(file, line.parse().ok()),
        None => problem,
    }
}
