//! The functions as Azure's tools list them.

use bytes::Bytes;
use http::{Response, StatusCode};
use ingle_types::spec::{FunctionSpec, TriggerSpec};
use serde_json::{Value, json};

use super::{Request, base, bindings, find, not_found};

pub(super) fn list(request: &Request<'_>) -> Response<Bytes> {
    let shown: Vec<Value> =
        request.door.site.functions.iter().map(|function| describe(request, function)).collect();
    super::json(StatusCode::OK, &Value::from(shown))
}

pub(super) fn one(request: &Request<'_>, function: &FunctionSpec) -> Response<Bytes> {
    super::json(StatusCode::OK, &describe(request, function))
}

/// `{"errors": […]}`, or `{"errors": null}` for one that runs; 404 for a name that nothing is known of.
pub(super) fn status(request: &Request<'_>, name: &str) -> Response<Bytes> {
    let own = |problem: &&ingle_types::problem::Problem| {
        problem.function.as_deref().is_some_and(|function| function.eq_ignore_ascii_case(name))
    };
    let errors: Vec<String> =
        request.door.site.problems.iter().filter(own).map(ToString::to_string).collect();
    if errors.is_empty() && find(request, name).is_none() {
        return not_found("there is no function of this name");
    }
    let errors = if errors.is_empty() { Value::Null } else { Value::from(errors) };
    super::json(StatusCode::OK, &json!({"errors": errors}))
}

/// The keys are Azure's. Links to files of the app are `null`: there is no door that shows them.
fn describe(request: &Request<'_>, function: &FunctionSpec) -> Value {
    let base = base(request.head);
    let name = function.name.as_str();
    let file =
        function.location.as_deref().map(|place| place.rsplit_once(':').map_or(place, |(file, _)| file));
    let url = match &function.trigger {
        TriggerSpec::Http(trigger) => {
            let prefix = &request.door.site.http.route_prefix;
            let path = format!("{prefix}/{}", trigger.route.trim_start_matches('/'));
            Some(format!("{base}/{}", path.trim_start_matches('/')))
        }
        _ => None,
    };
    json!({"name": name, "script_root_path_href": null, "script_href": null, "config_href": null,
        "test_data_href": null, "secrets_file_href": null, "href": format!("{base}/admin/functions/{name}"),
        "invoke_url_template": url, "language": "python",
        "config": {"name": name, "scriptFile": file, "language": "python", "bindings": bindings::describe(function)},
        "files": null, "test_data": "", "isDisabled": function.disabled, "isDirect": true, "isProxy": false})
}
