//! The parts of a request that say who the caller is.

use http::request::Parts;
use ingle_types::front::IdentitySource;
use serde_json::Value;

use crate::request::first_query_value;

/// The values of all sources, in their order; `None` if one is absent or empty. `context`: makes `requestContext` of the request,
/// which few need.
pub(super) fn found(
    sources: &[IdentitySource],
    head: &Parts,
    context: impl Fn() -> Value,
) -> Option<Vec<String>> {
    let value = |source: &IdentitySource| match source {
        IdentitySource::Header(name) => {
            let values = head.headers.get_all(name.as_str()).iter();
            values.filter_map(|value| value.to_str().ok()).map(str::to_owned).next_back()
        }
        IdentitySource::Query(name) => first_query_value(head.uri.query().unwrap_or_default(), name),
        IdentitySource::Context(path) => {
            let context = context();
            let found = path.split('.').try_fold(&context, |value, key| value.get(key));
            found.and_then(|value| value.as_str().map_or_else(|| text(value), |text| Some(text.to_owned())))
        }
        // Stages have no variables here.
        IdentitySource::StageVariable(_) => None,
    };
    sources.iter().map(|source| value(source).filter(|value| !value.is_empty())).collect()
}

fn text(value: &Value) -> Option<String> {
    matches!(value, Value::Number(_) | Value::Bool(_)).then(|| value.to_string())
}

#[cfg(test)]
mod tests {
    use http::Request;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_part_has_to_be_there() {
        let check = |sources: &[&str], expected: Option<&[&str]>| {
            let request = Request::get("/a?q=1&empty=").header("X-Token", "abc").header("x-none", "");
            let (head, ()) = request.body(()).unwrap().into_parts();
            let sources: Vec<_> = sources.iter().map(|text| IdentitySource::parse(text).unwrap()).collect();
            let context = || json!({"identity": {"sourceIp": "1.2.3.4"}, "n": 7, "null": null});
            let found = found(&sources, &head, context);
            assert_eq!(found, expected.map(|list| list.iter().map(|&one| one.to_owned()).collect()));
        };
        check(&[], Some(&[]));
        check(&["$request.header.x-token", "$request.querystring.q"], Some(&["abc", "1"]));
        check(&["$context.identity.sourceIp", "$context.n"], Some(&["1.2.3.4", "7"]));
        check(&["$request.header.x-token", "$request.header.other"], None);
        check(&["$request.header.x-none"], None);
        check(&["$request.querystring.empty"], None);
        check(&["$context.null"], None);
        check(&["$context.identity"], None);
        check(&["$stageVariables.a"], None);
    }
}
