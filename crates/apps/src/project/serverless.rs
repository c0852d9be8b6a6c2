//! Projects of the Serverless Framework, as its version 3 writes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ingle_types::queue::QueueSettings;

use super::findings::Findings;
use super::intrinsics::{Evaluator, Scope};
use super::node::{Fault, Kind, Member, Node};
use super::{
    Entry, Project, ProjectFunction, ProjectKind, ProjectOptions, QueueSubscription, front, function, later,
    place, queues, resources, stored, subscriptions,
};
use variables::Variables;

mod auth;
mod balancer;
mod cors;
mod dotenv;
mod events;
mod integration;
mod keys;
mod made;
mod validation;
mod variables;
mod wsgi;

/// As the framework has them for a function that says nothing.
const TIMEOUT_SECONDS: u64 = 6;
const MEMORY_MB: u64 = 1024;
/// As many as CloudFormation takes resources.
const FUNCTIONS_MAX: usize = 500;

/// Keys of the file that are read, or that say nothing about how functions run.
const APPLIED: [&str; 18] = [
    "service",
    "useDotenv",
    "provider",
    "functions",
    "layers",
    "package",
    "resources",
    "custom",
    "params",
    "plugins",
    "frameworkVersion",
    "configValidationMode",
    "variablesResolutionMode",
    "disabledDeprecations",
    "deprecationNotificationMode",
    "org",
    "app",
    "tenant",
];
const APPLIED_OF_PROVIDER: [&str; 21] = [
    "alb",
    "apiKeys",
    "usagePlan",
    "name",
    "runtime",
    "timeout",
    "memorySize",
    "environment",
    "stage",
    "region",
    "layers",
    "httpApi",
    "apiGateway",
    "s3",
    "architecture",
    "stackName",
    "tags",
    "stackTags",
    "profile",
    "deploymentBucket",
    "deploymentMethod",
];
const APPLIED_OF_FUNCTION: [&str; 19] = [
    "handler",
    "name",
    "runtime",
    "timeout",
    "memorySize",
    "environment",
    "layers",
    "events",
    "url",
    "package",
    "httpApi",
    "description",
    "tags",
    "architecture",
    "image",
    "destinations",
    "maximumRetryAttempts",
    "maximumEventAge",
    "onError",
];

/// Why a key has no effect.
fn why_not_applied(key: &str) -> &'static str {
    match key {
        "iam" | "role" | "iamRoleStatements" | "iamManagedPolicies" => "functions have no role at AWS here",
        "vpc" => "what a function may reach is decided by `egress` in ingle.toml",
        "tracing" | "logs" | "logRetentionInDays" => "logs and traces are Ingle's own",
        "reservedConcurrency" | "provisionedConcurrency" | "snapStart" | "versionFunctions" => {
            "workers are decided about by `[workers]` in ingle.toml"
        }
        _ => "it is not applied here",
    }
}

/// Reads a serverless.yml.
///
/// # Errors
/// It is no map, grows past its bounds, or is of another provider than AWS.
pub(super) fn read(root: &Path, file: &str, tree: &Node, options: &ProjectOptions) -> Result<Project, Fault> {
    if !matches!(tree.kind, Kind::Map(_)) {
        return Err(Fault::new(tree.line, format!("the file is {}, and not a map", tree.describe())));
    }
    let mut findings = Findings::new(file);
    let mut variables = Variables::new(root, tree, options);
    let provider = provider(&mut findings, &mut variables)?;
    let part =
        |variables: &mut Variables<'_>, key: &str| tree.get(key).map(|node| variables.fill(node)).transpose();
    let functions = part(&mut variables, "functions")?
        .map_or(Ok(Vec::new()), |node| joined(&mut findings, &node, "functions"))?;
    if functions.len() > FUNCTIONS_MAX {
        return Err(Fault::new(tree.line, format!("there are more than {FUNCTIONS_MAX} functions")));
    }
    let layers = part(&mut variables, "layers")?;
    let package = part(&mut variables, "package")?;
    let listed = part(&mut variables, "resources")?;
    let stacks = listed.as_ref().map_or(&[][..], |node| {
        if node.items().is_empty() { std::slice::from_ref(node) } else { node.items() }
    });
    let resource_nodes = declared(&mut findings, stacks);
    let service = service(&mut findings, &mut variables)?;
    let prefix = format!("{service}-{}", variables.stage);
    let wsgi = wsgi::app(&mut variables)?;
    let made = made::by_framework(&functions, layers.as_ref(), &prefix);
    let known = made.iter().map(|(id, node)| (id.as_str(), node));
    let stack = stacks.first();
    let scope = Scope {
        resources: resource_nodes
            .iter()
            .map(|member| (member.key.as_str(), &member.value))
            .chain(known)
            .collect(),
        parameters: stack.and_then(|stack| stack.get("Parameters")),
        mappings: stack.and_then(|stack| stack.get("Mappings")),
        conditions: stack.and_then(|stack| stack.get("Conditions")),
        given: &options.parameters,
        region: &variables.region,
        stack: &prefix,
    };
    let mut evaluator = Evaluator::new(scope);
    let empty = || Node::new(Kind::Map(Vec::new()), 1);
    let provider = evaluator.evaluate(&provider)?.unwrap_or_else(empty);
    note_ignored(&mut findings, tree, &provider, package.as_ref());
    let shared = shared_variables(&mut findings, &provider);
    let names = made::names(&functions, &prefix);
    let mut reader = Reader {
        root,
        prefix: &prefix,
        stage: &variables.stage,
        region: &variables.region,
        provider: &provider,
        package: package.as_ref(),
        layers: layers.as_ref(),
        wsgi: wsgi.as_ref(),
        shared,
        names,
        findings,
        queues: Vec::new(),
        subscriptions: Vec::new(),
    };
    let functions = reader.functions((functions, &resource_nodes), &mut evaluator)?;
    let Reader { findings, queues, subscriptions, .. } = reader;
    let (problems, ignored) = findings.finish();
    let included = variables.included();
    let project = Project::new(ProjectKind::Serverless, file, &variables.region);
    Ok(Project { included, functions, queues, subscriptions, ignored, problems, ..project })
}

/// What is declared in the language of CloudFormation.
fn declared(findings: &mut Findings, stacks: &[Node]) -> Vec<Member> {
    let mut declared = Vec::new();
    for node in stacks.iter().filter_map(|stack| stack.get("Resources")) {
        declared.extend(findings.members(node, "Resources").iter().cloned());
    }
    for resource in declared.iter().filter(|resource| !subscriptions::is_one(resource)) {
        resources::note_unserved(findings, resource);
    }
    declared
}

/// The provider, with stage and region decided on the way.
fn provider(findings: &mut Findings, variables: &mut Variables<'_>) -> Result<Node, Fault> {
    let Some(written) = variables.tree.get("provider") else {
        return Err(Fault::new(variables.tree.line, "the file has no `provider`"));
    };
    let own = |findings: &mut Findings, variables: &mut Variables<'_>, key: &str, given: bool| {
        let Some(node) = written.get(key).filter(|_| !given) else { return Ok(None) };
        let filled = variables.fill(node)?;
        Ok::<_, Fault>(findings.text(&filled, &format!("the {key}")))
    };
    if let Some(stage) = own(findings, variables, "stage", variables.options.stage.is_some())? {
        variables.stage = stage;
    }
    variables.read_dotenv(findings)?;
    if let Some(region) = own(findings, variables, "region", variables.options.region.is_some())? {
        variables.region = region;
    }
    let filled = variables.fill(written)?;
    // `provider: aws` is its name alone.
    let name = if filled.scalar().is_some() { Some(&filled) } else { filled.get("name") };
    match name.and_then(Node::scalar) {
        Some("aws") => {}
        Some(other) => {
            let what = format!("the provider is {other}, and only functions for aws are served");
            return Err(Fault::new(filled.line, what));
        }
        None => findings.wrong("E0116", filled.line, "the provider has no name", "write name: aws"),
    }
    Ok(filled)
}

/// The name of the service.
fn service(findings: &mut Findings, variables: &mut Variables<'_>) -> Result<String, Fault> {
    let Some(node) = variables.tree.get("service") else {
        let line = variables.tree.line;
        findings.wrong("E0116", line, "the service has no name", "write service: and a name, e.g. orders");
        return Ok("service".to_owned());
    };
    let node = variables.fill(node)?;
    let name = node.get("name").unwrap_or(&node);
    Ok(findings.text(name, "the service's name").unwrap_or_else(|| "service".to_owned()))
}

/// A map, or a list of maps that are one.
fn joined(findings: &mut Findings, node: &Node, what: &str) -> Result<Vec<Member>, Fault> {
    let Kind::List(items) = &node.kind else { return Ok(findings.members(node, what).to_vec()) };
    let members: Vec<Member> = items.iter().flat_map(|item| findings.members(item, what).to_vec()).collect();
    Node::map(members, node.line).map(|map| map.members().to_vec())
}

fn note_ignored(findings: &mut Findings, tree: &Node, provider: &Node, package: Option<&Node>) {
    for member in tree.members().iter().filter(|one| !APPLIED.contains(&one.key.as_str())) {
        findings.ignore(member.line, &member.key, why_not_applied(&member.key));
    }
    for member in provider.members().iter().filter(|one| !APPLIED_OF_PROVIDER.contains(&one.key.as_str())) {
        findings.ignore(member.line, format!("{} of the provider", member.key), why_not_applied(&member.key));
    }
    for member in package.map_or(&[][..], Node::members) {
        if matches!(member.key.as_str(), "patterns" | "include" | "exclude") {
            let why = "a function sees the whole folder of its code";
            findings.ignore(member.line, format!("{} of the package", member.key), why);
        }
    }
    for plugin in tree.get("plugins").map_or(&[][..], Node::items) {
        let name = plugin.scalar().unwrap_or_default();
        let why = match name {
            "serverless-python-requirements" => "requirements.txt is installed anyway",
            wsgi::PLUGIN => continue,
            _ => "plugins are not run",
        };
        findings.ignore(plugin.line, format!("the plugin {name}"), why);
    }
}

/// The variables that all functions have.
fn shared_variables(findings: &mut Findings, provider: &Node) -> BTreeMap<String, String> {
    let environment = provider.get("environment");
    environment.map(|node| function::variables(findings, node)).unwrap_or_default()
}

struct Reader<'a> {
    root: &'a Path,
    /// Of names: service and stage.
    prefix: &'a str,
    stage: &'a str,
    region: &'a str,
    provider: &'a Node,
    package: Option<&'a Node>,
    layers: Option<&'a Node>,
    /// The web app of the plugin for them.
    wsgi: Option<&'a Node>,
    shared: BTreeMap<String, String>,
    /// Of functions, by their keys.
    names: auth::Names,
    findings: Findings,
    queues: Vec<QueueSettings>,
    /// Queues that hear of topics.
    subscriptions: Vec<QueueSubscription>,
}

impl Reader<'_> {
    fn functions(
        &mut self,
        (listed, resources): (Vec<Member>, &[Member]),
        evaluator: &mut Evaluator<'_>,
    ) -> Result<Vec<ProjectFunction>, Fault> {
        let mut found = Vec::new();
        for function in listed {
            let Some(value) = evaluator.evaluate(&function.value)? else { continue };
            found.extend(self.checked(&Member { value, ..function }));
        }
        self.queues = queues::read(&mut self.findings, evaluator, resources)?;
        queues::apply(&mut found, &self.queues);
        self.subscriptions = subscriptions::read(&mut self.findings, evaluator, resources, &mut found)?;
        let names = stored::Names::of_resources(&mut self.findings, evaluator, resources)?;
        let functions = function::distinct(&mut self.findings, found);
        let mut functions = names.distinct(&mut self.findings, functions, &mut self.subscriptions);
        later::check(&mut self.findings, &mut functions);
        cors::complete(&mut functions);
        front::check(&mut self.findings, &functions);
        super::balancer::check(&mut self.findings, &functions);
        Ok(functions)
    }

    /// One function; `None` if something about it is wrong.
    fn checked(&mut self, member: &Member) -> Option<ProjectFunction> {
        let errors = self.findings.errors();
        self.findings.function = Some(member.key.clone());
        let function = self.function(member);
        self.findings.function = None;
        if self.findings.errors() > errors {
            return None;
        }
        if function.is_none() {
            self.findings.left_out(member.line, &member.key);
        }
        function
    }

    fn function(&mut self, member: &Member) -> Option<ProjectFunction> {
        let (id, config) = (member.key.as_str(), &member.value);
        if config.is_null() {
            self.findings.wrong(
                "E0116",
                member.line,
                format!("the function {id} is empty"),
                "write its handler",
            );
            return None;
        }
        self.findings.members(config, &format!("the function {id}"));
        if config.get("image").is_some() {
            self.findings.missing(
                member.line,
                format!("the function {id}"),
                "container images are not served",
            );
            return None;
        }
        let runtime = config.get("runtime").or(self.provider.get("runtime"));
        let runtime = runtime.and_then(|node| self.findings.text(node, "runtime"));
        if let Some(runtime) = runtime.as_deref().filter(|runtime| !function::is_served(runtime)) {
            self.findings.missing(member.line, format!("the function {id}"), function::unserved(runtime));
            return None;
        }
        for key in config.members().iter().filter(|one| !APPLIED_OF_FUNCTION.contains(&one.key.as_str())) {
            self.findings.ignore_of(key.line, &key.key, id, why_not_applied(&key.key));
        }
        let code = self.code(config)?;
        let handler = self.handler(member, &code, runtime.as_deref());
        let name = match config.get("name") {
            Some(node) => self.findings.text(node, "name")?,
            None => format!("{}-{id}", self.prefix),
        };
        let name = function::name(&mut self.findings, &name, member.line);
        let mut number = |key: &str, range, default| {
            let node = config.get(key).or(self.provider.get(key));
            node.and_then(|node| self.findings.number(node, key, range)).unwrap_or(default)
        };
        let timeout = number("timeout", function::TIMEOUT_RANGE, TIMEOUT_SECONDS);
        let memory_mb = number("memorySize", function::MEMORY_RANGE, MEMORY_MB);
        let variables = self.variables(config);
        let layers = self.layers(id, config);
        let later = later::of_serverless(&mut self.findings, &self.names, id, config);
        let (provider, stage, region) = (self.provider, self.stage, self.region);
        let door = events::Door { provider, stage, region, names: &self.names };
        let sources = events::read(&mut self.findings, &door, id, config);
        let (handler, entry) = handler?;
        let mut found = ProjectFunction {
            id: id.to_owned(),
            name: name?,
            handler,
            entry,
            runtime,
            code,
            timeout: Duration::from_secs(timeout),
            memory_mb,
            variables,
            layers,
            sources,
            later,
            file: None,
            line: member.line,
        };
        if entry == Entry::WebApp {
            wsgi::keep_requests(&mut self.findings, &mut found);
        }
        Some(found)
    }

    /// The handler in its code, or the web app of the plugin for them.
    fn handler(&mut self, member: &Member, code: &Path, runtime: Option<&str>) -> Option<(String, Entry)> {
        let Some(handler) = member.value.get("handler") else {
            let what = format!("the function {} has no handler", member.key);
            self.findings.wrong("E0116", member.line, what, "write handler: module.function");
            return None;
        };
        let place = self.root.join(code);
        if function::is_provided(runtime) {
            return Some((function::handler(&mut self.findings, None, handler)?, Entry::Handler));
        }
        match self.wsgi.filter(|_| wsgi::is_handler(handler)) {
            Some(app) => Some((wsgi::handler(&mut self.findings, &place, app)?, Entry::WebApp)),
            None => Some((function::handler(&mut self.findings, Some(&place), handler)?, Entry::Handler)),
        }
    }

    /// The whole folder, or a zip that was made already.
    fn code(&mut self, config: &Node) -> Option<PathBuf> {
        let artifact = |package: &Node| package.get("artifact").cloned();
        let own = config.get("package").and_then(artifact);
        match own.or_else(|| self.package.and_then(artifact)) {
            Some(node) => place::code(&mut self.findings, self.root, &node, "artifact"),
            None => Some(PathBuf::new()),
        }
    }

    fn variables(&mut self, config: &Node) -> BTreeMap<String, String> {
        let mut variables = self.shared.clone();
        let Some(node) = config.get("environment") else { return variables };
        // An empty value takes a shared one away.
        for member in node.members().iter().filter(|member| member.value.is_null()) {
            variables.remove(&member.key);
        }
        variables.extend(function::variables(&mut self.findings, node));
        variables
    }

    fn layers(&mut self, id: &str, config: &Node) -> Vec<PathBuf> {
        let Some(list) = config.get("layers").or(self.provider.get("layers")) else { return Vec::new() };
        let declared = self.layers.map_or(&[][..], Node::members);
        let mut found = Vec::new();
        for item in function::layers(&mut self.findings, list) {
            let layer = declared
                .iter()
                .find(|layer| item.reference.as_deref() == Some(made::layer_id(&layer.key).as_str()));
            let content = layer
                .map(|layer| (layer, layer.value.get("path").or(layer.value.at(&["package", "artifact"]))));
            match content {
                Some((_, Some(content))) => {
                    found.extend(place::code(&mut self.findings, self.root, content, "the layer"))
                }
                Some((layer, None)) => {
                    let what = format!("the layer {} has no path", layer.key);
                    self.findings.wrong("E0116", layer.line, what, "write path: and its folder");
                }
                None => {
                    let why = "its content is not in this folder; name what it has in requirements.txt";
                    self.findings.ignore_of(item.line, "a layer", id, why);
                }
            }
        }
        found
    }
}
