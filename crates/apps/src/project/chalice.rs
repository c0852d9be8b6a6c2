//! Projects of Chalice: `.chalice/config.json` has the settings, and `app.py` the functions, which only who has imported it knows.
//!
//! So reading has two halves: [`find`] reads the settings and says what is to be imported, and [`Chalice::project`] makes a
//! [`Project`] of the settings and of what the imported app said. How names and defaults come about is as Chalice's own
//! deployment makes them (facts of Lambda, section 4.2).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ingle_types::problem::Problem;
use ingle_types::spec::{DeclaredFunction, LaterOptions};

use super::findings::{Findings, shortened};
use super::node::{Fault, Kind, Node};
use super::yaml::Loaded;
use super::{Entry, EventSource, Ignored, Member, Project, ProjectFunction, ProjectKind, ProjectOptions};
use super::{front, function, region, stored, tree};
use crate::Error;
use crate::folder::{existing_folder, read_bytes};

mod declared;

use declared::Declared;

/// The settings.
const CONFIG: &str = ".chalice/config.json";
/// The functions.
pub(super) const SCRIPT: &str = "app.py";
/// The function of the REST API: what `lambda_functions` of the settings and what Lambda call it.
const API_FUNCTION: &str = "api_handler";
const API_HANDLER: &str = "app.app";
const STAGE: &str = "dev";
const API_STAGE: &str = "api";
const TIMEOUT_SECONDS: u64 = 60;
const MEMORY_MB: u64 = 128;
/// Packages that are taken along as they are.
const VENDOR: &str = "vendor";
/// Settings that have an effect here, of the file, a stage or a function.
const APPLIED: [&str; 8] = [
    "version",
    "app_name",
    "stages",
    "lambda_functions",
    "environment_variables",
    "lambda_timeout",
    "lambda_memory_size",
    "api_gateway_stage",
];

/// A project whose app is not imported yet.
#[derive(Clone, Debug)]
pub struct Chalice {
    root: PathBuf,
    region: String,
    config: Node,
    /// The keys that are there twice, with their lines.
    doubles: Vec<(u32, String)>,
    app_name: String,
    stage: String,
}

/// The project of a folder; `None` if it has none, or no `app.py`.
///
/// # Errors
/// The settings can't be read at all: E0115 with the line, e.g. for a syntax error.
pub fn find(root: &Path, options: &ProjectOptions) -> Result<Option<Chalice>, Error> {
    let root = existing_folder(root)?;
    let Some(bytes) = read_bytes(&root.join(CONFIG))? else { return Ok(None) };
    let fault = |Fault { line, what }| Error::Project { file: CONFIG.to_owned(), line, what };
    if !root.join(SCRIPT).is_file() {
        return Err(fault(Fault::new(1, format!("the project has no {SCRIPT} beside its .chalice"))));
    }
    let Loaded { root: config, doubles } = tree(CONFIG, bytes).map_err(fault)?;
    if !matches!(config.kind, Kind::Map(_)) {
        return Err(fault(Fault::new(
            config.line,
            format!("the settings are {}, and no object", config.describe()),
        )));
    }
    let folder = root.file_name().map_or_else(|| "app".into(), |name| name.to_string_lossy());
    let app_name = config.get("app_name").and_then(Node::scalar).unwrap_or(&folder).to_owned();
    let stage = options.stage.clone().unwrap_or_else(|| stage(&config));
    let region = region(options, None);
    Ok(Some(Chalice { root, region, config, doubles, app_name, stage }))
}

/// The stage that Chalice takes if none is named, or the only one that there is.
fn stage(config: &Node) -> String {
    match config.get("stages").map(Node::members).unwrap_or_default() {
        [one] => one.key.clone(),
        _ => STAGE.to_owned(),
    }
}

impl Chalice {
    /// The function of the REST API, without its routes: the app is imported as this one.
    pub fn api(&self) -> Member {
        let function = self.function(&mut Findings::new(CONFIG), &Named::api());
        Member {
            kind: ProjectKind::Chalice,
            root: self.root.clone(),
            file: PathBuf::from(CONFIG),
            region: self.region.clone(),
            function,
            door: None,
        }
    }

    /// The whole project. `imported`: what came of importing [`Chalice::api`]; none if that failed, for the reasons in
    /// `problems`.
    pub fn project(&self, imported: Option<&DeclaredFunction>, problems: Vec<Problem>) -> Project {
        let mut findings = Findings::new(CONFIG);
        self.look_over(&mut findings);
        let said = imported.map(|imported| Declared::read(&mut findings, imported));
        let functions = said.flatten().map(|said| self.functions(&mut findings, said)).unwrap_or_default();
        let functions = function::distinct(&mut findings, functions);
        let functions = stored::Names::default().distinct(&mut findings, functions, &mut Vec::new());
        front::check(&mut findings, &functions);
        let (found, mut ignored) = findings.finish();
        ignored.extend(self.doubles.iter().map(|(line, key)| Ignored {
            file: None,
            line: *line,
            what: format!("the key {}", shortened(key)),
            why: "the same key is there again further down, and counts".to_owned(),
            is_missing: false,
        }));
        let (included, problems) = (vec![PathBuf::from(SCRIPT)], problems.into_iter().chain(found).collect());
        let project = Project::new(ProjectKind::Chalice, CONFIG, &self.region);
        Project { included, functions, ignored, problems, ..project }
    }

    fn functions(&self, findings: &mut Findings, said: Declared) -> Vec<ProjectFunction> {
        let mut functions = Vec::new();
        if !said.routes.is_empty() {
            let mut api = self.function(findings, &Named::api());
            let stage = self.setting(API_FUNCTION, "api_gateway_stage");
            let stage = stage.and_then(|node| findings.text(node, "api_gateway_stage"));
            let stage = stage.unwrap_or_else(|| API_STAGE.to_owned());
            let prefix = format!("{}-{}", self.app_name, self.stage);
            api.sources = declared::routes(findings, &said, (&self.app_name, &prefix), &stage);
            functions.push(api);
        }
        for one in &said.functions {
            let errors = findings.errors();
            findings.function = Some(one.name.clone());
            let named =
                Named { name: &one.name, handler: &one.handler, file: one.file.as_deref(), line: one.line };
            let made = self.function(findings, &named);
            let rule = format!("{}-event", made.name);
            let sources: Vec<EventSource> = declared::source(findings, one, rule).into_iter().collect();
            // The name stands where the function does.
            let settings =
                std::mem::replace(&mut findings.file, one.file.as_deref().unwrap_or(SCRIPT).to_owned());
            let is_named = function::name(findings, &made.name, made.line).is_some();
            findings.file = settings;
            findings.function = None;
            if is_named && findings.errors() == errors {
                functions.push(ProjectFunction { sources, ..made });
            }
        }
        functions
    }

    fn function(&self, findings: &mut Findings, named: &Named<'_>) -> ProjectFunction {
        let id = named.name;
        let mut number = |key: &str, range, default| {
            self.setting(id, key).and_then(|node| findings.number(node, key, range)).unwrap_or(default)
        };
        let timeout = number("lambda_timeout", function::TIMEOUT_RANGE, TIMEOUT_SECONDS);
        let memory_mb = number("lambda_memory_size", function::MEMORY_RANGE, MEMORY_MB);
        let (app, stage) = (&self.app_name, &self.stage);
        let name = if id == API_FUNCTION { format!("{app}-{stage}") } else { format!("{app}-{stage}-{id}") };
        ProjectFunction {
            id: id.to_owned(),
            name,
            handler: named.handler.to_owned(),
            entry: Entry::Handler,
            runtime: None,
            code: PathBuf::new(),
            timeout: Duration::from_secs(timeout),
            memory_mb,
            variables: self.variables(findings, id),
            layers: Vec::new(),
            sources: Vec::new(),
            later: LaterOptions::default(),
            file: Some(PathBuf::from(named.file.unwrap_or(SCRIPT))),
            line: named.line.unwrap_or(1),
        }
    }

    /// The most special place first: the function in the stage, the stage, the function, the whole file.
    fn places<'a>(&'a self, function: &'a str) -> impl DoubleEndedIterator<Item = &'a Node> {
        let stage = self.stage.as_str();
        let paths: [&[&str]; 4] = [
            &["stages", stage, "lambda_functions", function],
            &["stages", stage],
            &["lambda_functions", function],
            &[],
        ];
        paths.map(|path| self.config.at(path)).into_iter().flatten()
    }

    fn setting<'a>(&'a self, function: &'a str, key: &str) -> Option<&'a Node> {
        self.places(function).find_map(|place| place.get(key))
    }

    /// Those of the whole file, of the stage, and of the function, each over the ones before.
    fn variables(&self, findings: &mut Findings, function: &str) -> BTreeMap<String, String> {
        let mut variables = BTreeMap::new();
        for place in self.places(function).rev() {
            if let Some(node) = place.get("environment_variables") {
                variables.extend(function::variables(findings, node));
            }
        }
        let vendor = self.root.join(VENDOR);
        if vendor.is_dir() {
            let own = variables.get("PYTHONPATH").map(|own| format!(":{own}")).unwrap_or_default();
            variables.insert("PYTHONPATH".to_owned(), format!("{}{own}", vendor.display()));
        }
        variables
    }

    /// Says what in the settings has no effect, and what is of another kind than Chalice takes.
    fn look_over(&self, findings: &mut Findings) {
        unapplied(findings, &self.config, &self.app_name);
        let stages = self.config.get("stages");
        for stage in stages.map(|stages| findings.members(stages, "stages")).unwrap_or_default() {
            if stage.key == self.stage {
                unapplied(findings, &stage.value, &format!("the stage {}", stage.key));
            } else {
                let why = format!("the stage that runs is {}", self.stage);
                findings.ignore(stage.line, format!("the stage {}", shortened(&stage.key)), why);
            }
        }
    }
}

/// A function as the app names it.
struct Named<'a> {
    name: &'a str,
    handler: &'a str,
    file: Option<&'a str>,
    line: Option<u32>,
}

impl Named<'_> {
    fn api() -> Self {
        Self { name: API_FUNCTION, handler: API_HANDLER, file: None, line: None }
    }
}

/// Settings that matter at AWS alone, of the file or a stage and of the functions there.
fn unapplied(findings: &mut Findings, node: &Node, subject: &str) {
    for member in findings.members(node, subject) {
        if !APPLIED.contains(&member.key.as_str()) {
            let why = "it is for the deployment to AWS";
            findings.ignore_of(member.line, &shortened(&member.key), &shortened(subject), why);
        }
    }
    let functions = node.get("lambda_functions");
    for function in functions.map(|node| findings.members(node, "lambda_functions")).unwrap_or_default() {
        unapplied(findings, &function.value, &function.key);
    }
}

#[cfg(test)]
mod tests;
