//! Templates of AWS SAM, and plain functions of CloudFormation.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ingle_types::queue::QueueSettings;

use super::findings::Findings;
use super::intrinsics::{Evaluator, Scope};
use super::node::{Fault, Kind, Member, Node};
use super::resources::{self, Kind as ResourceKind};
use super::{
    Entry, Project, ProjectFunction, ProjectKind, ProjectOptions, QueueSubscription, front, function, later,
    place, queues, stored, subscriptions,
};

mod api;
mod auth;
mod balancer;
mod events;
mod integration;
mod keys;
mod openapi;
mod parameters;
mod references;
mod security;
mod validation;
mod wiring;

/// As Lambda has them for a function that says nothing.
const TIMEOUT_SECONDS: u64 = 3;
const MEMORY_MB: u64 = 128;
/// As CloudFormation takes them.
const RESOURCES_MAX: usize = 500;
/// Code that stands in a template, as CloudFormation takes it.
const INLINE_BYTES_MAX: usize = 4 << 20;

/// Properties of a function that are applied, or that say nothing about how it runs.
const APPLIED: [&str; 21] = [
    "Handler",
    "Runtime",
    "CodeUri",
    "Code",
    "InlineCode",
    "ImageUri",
    "ImageConfig",
    "PackageType",
    "FunctionName",
    "Timeout",
    "MemorySize",
    "Environment",
    "Layers",
    "Events",
    "FunctionUrlConfig",
    "Description",
    "Tags",
    "Architectures",
    "EventInvokeConfig",
    "DeadLetterQueue",
    "DeadLetterConfig",
];

/// Why a property has no effect; what is not here is only said to have none.
fn why_not_applied(property: &str) -> &'static str {
    match property {
        "Policies" | "Role" | "PermissionsBoundary" | "AssumeRolePolicyDocument" | "RolePath" => {
            "functions have no role at AWS here"
        }
        "VpcConfig" => "what a function may reach is decided by `egress` in ingle.toml",
        "Tracing" | "LoggingConfig" => "logs and traces are Ingle's own",
        "ReservedConcurrentExecutions" | "ProvisionedConcurrencyConfig" | "SnapStart" => {
            "workers are decided about by `[workers]` in ingle.toml"
        }
        "AutoPublishAlias" => "there is one version of a function, and every alias leads to it",
        _ => "it is not applied here",
    }
}

/// A template whose functions were evaluated.
pub(super) struct Template<'a> {
    pub(super) resources: BTreeMap<&'a str, &'a Member>,
    pub(super) globals: Option<&'a Node>,
}

/// Reads a template; `None` if it is one of CloudFormation without functions.
///
/// # Errors
/// The template grows past its bounds, or is no map.
pub(super) fn read(
    root: &Path,
    file: &str,
    tree: &Node,
    options: &ProjectOptions,
) -> Result<Option<Project>, Fault> {
    if !matches!(tree.kind, Kind::Map(_)) {
        return Err(Fault::new(tree.line, format!("the template is {}, and not a map", tree.describe())));
    }
    let Some(listed) = tree.get("Resources") else {
        return if is_sam(tree) {
            Err(Fault::new(tree.line, "the template has no `Resources`"))
        } else {
            Ok(None)
        };
    };
    let has_functions =
        listed.members().iter().any(|one| ResourceKind::of(&one.value) == Some(ResourceKind::Function));
    if !is_sam(tree) && !has_functions {
        return Ok(None);
    }
    if listed.members().len() > RESOURCES_MAX {
        return Err(Fault::new(listed.line, format!("there are more than {RESOURCES_MAX} resources")));
    }
    let region = super::region(options, None);
    let stack = stack_name(root);
    let mut findings = Findings::new(file);
    let given = parameters::given(&mut findings, root, tree.get("Parameters"), options);
    let scope = Scope {
        resources: listed.members().iter().map(|member| (member.key.as_str(), &member.value)).collect(),
        parameters: tree.get("Parameters"),
        mappings: tree.get("Mappings"),
        conditions: tree.get("Conditions"),
        given: &given.values,
        region: &region,
        stack: &stack,
    };
    references::check(&mut findings, tree);
    let mut evaluator = Evaluator::new(scope);
    evaluator.globals = tree.get("Globals");
    let resources = exist(&mut evaluator, &mut findings, listed)?;
    let globals = tree.get("Globals").map(|globals| evaluator.evaluate(globals)).transpose()?.flatten();
    let template = Template {
        resources: resources.iter().map(|member| (member.key.as_str(), member)).collect(),
        globals: globals.as_ref(),
    };
    let documents =
        openapi::read(&mut findings, &mut evaluator, (root, template.globals), (listed, &resources));
    let included = openapi::files(&documents).into_iter().chain(given.file).collect();
    let mut reader = Reader {
        root,
        template,
        findings,
        evaluator,
        documents,
        taken: BTreeSet::new(),
        inline: BTreeMap::new(),
        queues: Vec::new(),
        subscriptions: Vec::new(),
    };
    let functions = reader.functions(&resources)?;
    let Reader { findings, queues, subscriptions, inline, .. } = reader;
    let (problems, ignored) = findings.finish();
    let project = Project::new(ProjectKind::Sam, file, &region);
    Ok(Some(Project { included, functions, queues, subscriptions, inline, ignored, problems, ..project }))
}

/// The folder's name with what a stack's name may hold.
fn stack_name(root: &Path) -> String {
    let name = root.file_name().map_or_else(|| "app".into(), |name| name.to_string_lossy());
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect()
}

fn is_sam(tree: &Node) -> bool {
    let is_name = |node: &Node| node.scalar().is_some_and(|name| name.starts_with("AWS::Serverless-"));
    let named = tree
        .get("Transform")
        .is_some_and(|transform| is_name(transform) || transform.items().iter().any(is_name));
    let kinds =
        tree.get("Resources").map_or(&[][..], Node::members).iter().filter_map(|one| one.value.get("Type"));
    named || kinds.filter_map(Node::scalar).any(|kind| kind.starts_with("AWS::Serverless::"))
}

/// The resources whose condition does not leave them out, evaluated.
fn exist(
    evaluator: &mut Evaluator<'_>,
    findings: &mut Findings,
    listed: &Node,
) -> Result<Vec<Member>, Fault> {
    let mut found = Vec::new();
    let mut open: BTreeMap<String, (u32, Vec<&str>)> = BTreeMap::new();
    for member in findings.members(listed, "Resources") {
        if !matches!(member.value.kind, Kind::Map(_)) {
            findings.wrong_kind(
                &member.value,
                &format!("the resource {}", member.key),
                "a map with Type and Properties",
            );
            continue;
        }
        if let Some(condition) = member.value.get("Condition").and_then(Node::scalar) {
            match evaluator.condition(condition)? {
                Ok(true) => {}
                Ok(false) => {
                    let why = format!("its condition {condition} is not met");
                    findings.ignore(member.line, format!("the resource {}", member.key), why);
                    continue;
                }
                Err(why) => {
                    let (_, names) = open.entry(why).or_insert((member.line, Vec::new()));
                    if !names.contains(&condition) {
                        names.push(condition);
                    }
                }
            }
        }
        let value = evaluator.evaluate(&member.value)?;
        found.extend(value.map(|value| Member { value, ..member.clone() }));
    }
    for (why, (line, names)) in open {
        let what = format!("nobody knows whether {} is met: {why}", names.join(" or "));
        findings.odd("E0118", line, what, "until that is known, what depends on it is served in any case");
    }
    Ok(found)
}

struct Reader<'a> {
    root: &'a Path,
    template: Template<'a>,
    findings: Findings,
    /// Still needed for names.
    evaluator: Evaluator<'a>,
    /// Those of its APIs.
    documents: Vec<openapi::Document>,
    /// Resources that start a function.
    taken: BTreeSet<String>,
    queues: Vec<QueueSettings>,
    /// Code that stands in the template, by functions.
    inline: BTreeMap<String, String>,
    /// Queues that hear of topics.
    subscriptions: Vec<QueueSubscription>,
}

impl Reader<'_> {
    fn functions(&mut self, resources: &[Member]) -> Result<Vec<ProjectFunction>, Fault> {
        let mut functions = Vec::new();
        for section in ["Api", "HttpApi"] {
            let globals = self.template.globals.and_then(|globals| globals.get(section));
            let globals = globals.map_or(&[][..], Node::members);
            api::note_properties(&mut self.findings, globals, "Globals");
        }
        for member in resources {
            let kind = member.value.get("Type").and_then(Node::scalar).unwrap_or_default();
            match ResourceKind::of(&member.value) {
                Some(ResourceKind::Function) => {
                    let errors = self.findings.errors();
                    self.findings.function = Some(member.key.clone());
                    let function = self.function(member, kind == "AWS::Serverless::Function")?;
                    self.findings.function = None;
                    if self.findings.errors() == errors {
                        match function {
                            Some(function) => functions.push(function),
                            None => self.findings.left_out(member.line, &member.key),
                        }
                    }
                }
                Some(ResourceKind::RestApi | ResourceKind::HttpApi) => {
                    api::note_ignored(&mut self.findings, member)
                }
                _ => {}
            }
        }
        self.taken.extend(keys::taken(&self.template));
        self.taken.extend(subscriptions::keys(resources));
        for member in resources.iter().filter(|member| !self.taken.contains(&member.key)) {
            resources::note_unserved(&mut self.findings, member);
        }
        self.queues = queues::read(&mut self.findings, &mut self.evaluator, resources)?;
        queues::apply(&mut functions, &self.queues);
        let (findings, evaluator) = (&mut self.findings, &mut self.evaluator);
        self.subscriptions = subscriptions::read(findings, evaluator, resources, &mut functions)?;
        let names = stored::Names::of_resources(findings, evaluator, resources)?;
        let functions = function::distinct(findings, functions);
        let mut functions = names.distinct(findings, functions, &mut self.subscriptions);
        later::check(findings, &mut functions);
        openapi::attach(&mut self.findings, &self.template, &self.documents, &mut functions);
        front::check(&mut self.findings, &functions);
        super::balancer::check(&mut self.findings, &functions);
        Ok(functions)
    }

    /// One function; `None` if it is wrong, or of a kind that is not served.
    fn function(&mut self, member: &Member, is_serverless: bool) -> Result<Option<ProjectFunction>, Fault> {
        let id = member.key.as_str();
        let own = member
            .value
            .get("Properties")
            .cloned()
            .unwrap_or_else(|| Node::new(Kind::Map(Vec::new()), member.line));
        self.findings.members(&own, "Properties");
        let properties = match self.template.globals.and_then(|globals| globals.get("Function")) {
            Some(globals) if is_serverless => merged(globals, own),
            _ => own,
        };
        if let Some(why) = self.unserved(&properties) {
            self.findings.missing(member.line, format!("the function {id}"), why);
            return Ok(None);
        }
        for property in properties.members().iter().filter(|one| !APPLIED.contains(&one.key.as_str())) {
            self.findings.ignore_of(property.line, &property.key, id, why_not_applied(&property.key));
        }
        if let Some(build) = member.value.at(&["Metadata", "BuildMethod"]) {
            let why = "requirements.txt is installed, and nothing else is built";
            self.findings.ignore_of(build.line, "BuildMethod", id, why);
        }
        let Some(code) = self.code(id, &properties, is_serverless) else { return Ok(None) };
        let Some(handler) = properties.get("Handler") else {
            let what = format!("the function {id} has no Handler");
            self.findings.wrong("E0116", member.line, what, "write Handler: module.function");
            return Ok(None);
        };
        let runtime = self.findings.optional(&properties, "Runtime", Findings::text);
        let place = (!function::is_provided(runtime.as_deref())).then(|| self.root.join(&code));
        let handler = function::handler(&mut self.findings, place.as_deref(), handler);
        let Some(name) = self.name(member)? else { return Ok(None) };
        let findings = &mut self.findings;
        let number = |findings: &mut Findings, key: &str, range| {
            properties.get(key).and_then(|node| findings.number(node, key, range))
        };
        let timeout = number(findings, "Timeout", function::TIMEOUT_RANGE).unwrap_or(TIMEOUT_SECONDS);
        let memory_mb = number(findings, "MemorySize", function::MEMORY_RANGE).unwrap_or(MEMORY_MB);
        let variables = properties.get("Environment").map(|node| {
            findings.members(node, "Environment");
            node.get("Variables").map(|node| function::variables(findings, node)).unwrap_or_default()
        });
        let layers = self.layers(id, &properties);
        let later = later::of_template(&mut self.findings, id, &properties);
        let mut sources = events::read(&mut self.findings, &self.template, &properties, is_serverless);
        let target = wiring::Target { id, name: &name };
        sources.extend(wiring::read(&mut self.findings, &self.template, &target, &mut self.taken));
        Ok(handler.map(|handler| ProjectFunction {
            id: id.to_owned(),
            name,
            handler,
            entry: Entry::Handler,
            runtime,
            code,
            timeout: Duration::from_secs(timeout),
            memory_mb,
            variables: variables.unwrap_or_default(),
            layers,
            sources,
            later,
            file: None,
            line: member.line,
        }))
    }

    /// Why the function is none that runs here.
    fn unserved(&self, properties: &Node) -> Option<String> {
        let text = |key: &str| properties.get(key).and_then(Node::scalar);
        if text("PackageType") == Some("Image") || properties.get("ImageUri").is_some() {
            return Some("container images are not served".to_owned());
        }
        if let Some(runtime) = text("Runtime").filter(|runtime| !function::is_served(runtime)) {
            return Some(function::unserved(runtime));
        }
        let code = properties.get("CodeUri").or(properties.get("Code"));
        if inline(properties).is_some() {
            let is_program = function::is_provided(text("Runtime"));
            return is_program.then(|| "its code stands in the template, and is no program".to_owned());
        }
        if code.is_some_and(is_elsewhere) {
            return Some("its code is not in this folder".to_owned());
        }
        None
    }

    fn code(&mut self, id: &str, properties: &Node, is_serverless: bool) -> Option<PathBuf> {
        if let Some(node) = inline(properties) {
            let text = self.findings.text(node, "the code")?;
            if text.len() > INLINE_BYTES_MAX {
                let what = format!("the code has {} bytes", text.len());
                let fix = format!("put it into a file, or write at most {INLINE_BYTES_MAX} bytes");
                self.findings.wrong("E0116", node.line, what, fix);
                return None;
            }
            self.inline.insert(id.to_owned(), text);
            return Some(PathBuf::new());
        }
        let key = if is_serverless { "CodeUri" } else { "Code" };
        match properties.get(key) {
            Some(node) => place::code(&mut self.findings, self.root, node, key),
            // As SAM has it for a function that does not say where its code is.
            None => Some(PathBuf::new()),
        }
    }

    fn name(&mut self, member: &Member) -> Result<Option<String>, Fault> {
        match self.evaluator.name(&member.key, &member.value, ResourceKind::Function)? {
            Ok(name) => Ok(function::name(&mut self.findings, &name, member.line)),
            Err(why) => {
                self.findings.ignore(member.line, format!("the name of {}", member.key), why);
                Ok(function::name(&mut self.findings, &member.key, member.line))
            }
        }
    }

    fn layers(&mut self, id: &str, properties: &Node) -> Vec<PathBuf> {
        let Some(list) = properties.get("Layers") else { return Vec::new() };
        let mut found = Vec::new();
        for item in function::layers(&mut self.findings, list) {
            let layer = item.reference.as_deref().and_then(|id| self.template.resources.get(id));
            let content = layer
                .and_then(|layer| layer.value.get("Properties"))
                .and_then(|all| all.get("ContentUri").or(all.get("Content")));
            match content {
                Some(content) if !is_elsewhere(content) => {
                    found.extend(place::code(&mut self.findings, self.root, content, "ContentUri"));
                }
                _ => {
                    let why = match &item.kind {
                        Kind::Unknown(unknown) => &unknown.why,
                        _ => "its content is not in this folder; name what it has in requirements.txt",
                    };
                    self.findings.ignore_of(item.line, "a layer", id, why);
                }
            }
        }
        found
    }
}

/// The code of a function that stands in the template.
fn inline(properties: &Node) -> Option<&Node> {
    properties.get("InlineCode").or_else(|| properties.at(&["Code", "ZipFile"]))
}

/// Whether code is in a bucket.
fn is_elsewhere(node: &Node) -> bool {
    let is_remote = |text: &str| text.starts_with("s3://") || text.starts_with("https://");
    node.scalar().is_some_and(is_remote) || matches!(node.kind, Kind::Map(_))
}

/// A value of `Globals` and one of a resource, as SAM puts them together: maps are merged, lists are added, and of
/// everything else the resource's own counts.
pub(super) fn merged(global: &Node, own: Node) -> Node {
    let (line, reference) = (own.line, own.reference.clone());
    let kind = match (&global.kind, own.kind) {
        (Kind::Map(globals), Kind::Map(mut members)) => {
            for global in globals {
                match members.iter_mut().find(|member| member.key == global.key) {
                    Some(member) => {
                        let value = std::mem::replace(&mut member.value, Node::plain("", line));
                        member.value = merged(&global.value, value);
                    }
                    None => members.push(global.clone()),
                }
            }
            Kind::Map(members)
        }
        (Kind::List(globals), Kind::List(items)) => {
            Kind::List(globals.iter().cloned().chain(items).collect())
        }
        (_, own) => own,
    };
    Node { kind, line, reference }
}
