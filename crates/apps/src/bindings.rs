//! The bindings of one declared function: from JSON objects to [`TriggerSpec`] and [`BindingSpec`].

use ingle_types::problem::Problem;
use ingle_types::spec::{BindingKind, BindingSpec, DataType, DeclaredFunction, TriggerSpec};
use serde_json::{Map, Value};

use crate::folder::AppFolder;
use crate::function_json::is_identifier;
use crate::resolve::at_function;
use crate::suggest::{did_you_mean, nearest};

mod account;
mod blob;
mod document;
mod http;
mod known;
mod properties;
mod queue;
mod table;
mod timer;

use properties::Properties;
pub(crate) use timer::default_zone;

pub(crate) struct Resolved {
    pub(crate) trigger: TriggerSpec,
    pub(crate) trigger_parameter: String,
    pub(crate) bindings: Vec<BindingSpec>,
}

/// What one declared binding is.
enum Role {
    Trigger(TriggerSpec),
    Binding(BindingKind),
}

/// Marks that the reason has been reported already.
struct Reported;

/// `None` if the function can't run; the reasons are in `problems` then.
pub(crate) fn resolve(
    folder: &AppFolder,
    declared: &DeclaredFunction,
    problems: &mut Vec<Problem>,
) -> Option<Resolved> {
    let mut triggers: Vec<(String, TriggerSpec)> = Vec::new();
    let mut bindings = Vec::new();
    let mut failed = false;
    check_triggers(declared, problems);
    check_names(folder, declared, problems);
    for (index, object) in declared.bindings.iter().enumerate() {
        let mut properties = Properties::new(folder, declared, index, object, problems);
        match resolve_one(&mut properties) {
            Ok((name, _, Role::Trigger(trigger))) => triggers.push((name, trigger)),
            Ok((name, data_type, Role::Binding(kind))) => {
                let account = std::mem::take(&mut properties.account);
                bindings.push(BindingSpec { name, kind, data_type, account })
            }
            Err(Reported) => failed = true,
        }
    }
    let (trigger_parameter, trigger) = triggers.pop().filter(|_| !failed && triggers.is_empty())?;
    Some(Resolved { trigger, trigger_parameter, bindings })
}

fn text_of<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    object.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).and_then(|(_, value)| value.as_str())
}

fn is_trigger(object: &Map<String, Value>) -> bool {
    text_of(object, "type").is_some_and(|kind| kind.to_lowercase().ends_with("trigger"))
}

fn has_unknown_type(object: &Map<String, Value>) -> bool {
    text_of(object, "type")
        .is_some_and(|kind| !known::TYPES.iter().any(|known| known.eq_ignore_ascii_case(kind)))
}

fn check_triggers(declared: &DeclaredFunction, problems: &mut Vec<Problem>) {
    let triggers: Vec<&str> = declared
        .bindings
        .iter()
        .filter(|object| is_trigger(object))
        .filter_map(|object| text_of(object, "type"))
        .collect();
    let problem = match triggers.as_slice() {
        [_] => return,
        // A misspelled type may well be the trigger, and is reported for itself.
        [] if declared.bindings.iter().any(has_unknown_type) => return,
        [] => Problem::error("E0207", format!("{} has no trigger", declared.name))
            .fix("say what starts it, e.g. an httpTrigger or a queueTrigger"),
        all => Problem::error(
            "E0208",
            format!("{} has {} triggers: {}", declared.name, all.len(), all.join(", ")),
        )
        .fix("a function has exactly one; make a second function for the other"),
    };
    problems.push(at_function(problem, declared));
}

/// A second binding of one name is an error, also when only its case differs.
fn check_names(folder: &AppFolder, declared: &DeclaredFunction, problems: &mut Vec<Problem>) {
    for (index, object) in declared.bindings.iter().enumerate() {
        let Some(name) = text_of(object, "name") else { continue };
        let is_taken = declared.bindings[..index]
            .iter()
            .filter_map(|other| text_of(other, "name"))
            .any(|other| other.eq_ignore_ascii_case(name));
        if is_taken {
            let mut properties = Properties::new(folder, declared, index, object, problems);
            properties.error(
                "E0225",
                "name",
                format!("two bindings of {} are named `{name}`", declared.name),
                "rename one of them",
            );
        }
    }
}

fn resolve_one(properties: &mut Properties<'_>) -> Result<(String, DataType, Role), Reported> {
    let kind = properties.plain_text("type")?;
    let Some(kind) = kind else {
        let fix = "add its type, e.g. httpTrigger";
        return Err(properties.error("E0232", "type", "a binding has no type", fix));
    };
    let name = binding_name(properties)?;
    let data_type = match properties.one_of("dataType", &["undefined", "string", "binary", "stream"])? {
        Some("string") => DataType::String,
        // A stream is bytes that come later; functions see the same.
        Some("binary" | "stream") => DataType::Binary,
        _ => DataType::Undefined,
    };
    let role = match kind.to_lowercase().as_str() {
        "httptrigger" => Role::Trigger(TriggerSpec::Http(http::trigger(properties)?)),
        "http" => Role::Binding(http::output(properties)?),
        "queuetrigger" => Role::Trigger(TriggerSpec::Queue(queue::trigger(properties, data_type)?)),
        "timertrigger" => Role::Trigger(TriggerSpec::Timer(timer::trigger(properties)?)),
        "blobtrigger" => Role::Trigger(TriggerSpec::Blob(blob::trigger(properties, data_type)?)),
        "blob" => Role::Binding(blob::binding(properties, data_type)?),
        "queue" => Role::Binding(queue::output(properties)?),
        "cosmosdb" => Role::Binding(document::binding(properties)?),
        "cosmosdbtrigger" => Role::Trigger(TriggerSpec::Documents(document::trigger(properties)?)),
        "table" => Role::Binding(table::binding(properties)?),
        "eventgridtrigger" => Role::Trigger(simple_trigger(properties, TriggerSpec::EventGrid)?),
        "warmuptrigger" => Role::Trigger(simple_trigger(properties, TriggerSpec::Warmup)?),
        _ => return Err(unsupported(properties, &kind)),
    };
    check_cardinality(properties, &kind)?;
    properties.report_unused();
    Ok((name, data_type, role))
}

/// One event for each invocation or many: triggers come in one of the two forms here, and `one` is what a binding
/// that says nothing means.
fn check_cardinality(properties: &mut Properties<'_>, kind: &str) -> Result<(), Reported> {
    let cardinality = properties.one_of("cardinality", &["one", "many"])?;
    if cardinality == Some("many") && !kind.eq_ignore_ascii_case("cosmosDBTrigger") {
        properties.warn(
            "E0233",
            "cardinality",
            format!("{kind} hands over one event at a time, so `many` has no effect"),
            "remove it",
        );
    }
    Ok(())
}

/// A trigger that has nothing to be set.
fn simple_trigger(properties: &mut Properties<'_>, trigger: TriggerSpec) -> Result<TriggerSpec, Reported> {
    properties.direction(&["in"], "in")?;
    Ok(trigger)
}

fn binding_name(properties: &mut Properties<'_>) -> Result<String, Reported> {
    match properties.plain_text("name")? {
        Some(name) if name == "$return" || is_identifier(&name) => Ok(name),
        Some(name) => {
            let message = format!("`{name}` can't be the name of a binding");
            let fix = "give it the name of a parameter in Python, or `$return` for what the function returns";
            Err(properties.error("E0229", "name", message, fix))
        }
        None => {
            let fix = "add its name: that of the parameter in Python";
            Err(properties.error("E0229", "name", "a binding has no name", fix))
        }
    }
}

fn unsupported(properties: &mut Properties<'_>, kind: &str) -> Reported {
    if let Some(known) = known::TYPES.iter().find(|known| known.eq_ignore_ascii_case(kind)) {
        let message = format!("the binding type {known} is not supported yet");
        let fix = format!("use another one; these are supported: {}", known::SUPPORTED.join(", "));
        properties.error("E0223", "type", message, fix)
    } else {
        let near = nearest(kind, known::TYPES.iter().copied());
        let fix = near.map_or_else(
            || format!("use a type that is known; these are supported: {}", known::SUPPORTED.join(", ")),
            |near| format!("write {near}"),
        );
        let message = format!("the binding type `{kind}` is not known{}", did_you_mean(near));
        properties.error("E0224", "type", message, fix)
    }
}
