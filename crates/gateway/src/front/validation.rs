//! What a request has to be like before its function runs (facts of Lambda, section 5.3).

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Response, StatusCode};
use ingle_types::front::{Model, Parameter, Validation};
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

use crate::apis;
use crate::request::pairs;

const JSON: &str = "application/json";

/// The checks of one route.
#[derive(Default)]
pub(super) struct Checks {
    required: Vec<Parameter>,
    /// By media type; none for a schema that is none.
    models: Vec<(String, Option<Validator>)>,
}

/// A schema, made ready.
fn compiled(model: &Model) -> Result<Validator, String> {
    // Regular expressions that can't take long, and nothing that is fetched from elsewhere.
    let options = jsonschema::options().with_draft(Draft::Draft4);
    let options = options.with_pattern_options(PatternOptions::regex());
    options.build(&model.schema).map_err(|error| error.to_string())
}

/// What is wrong with the schemas.
pub(super) fn faults(validation: &Validation) -> impl Iterator<Item = String> {
    validation.models.iter().filter_map(|model| {
        let error = compiled(model).err()?;
        Some(format!("the schema for bodies of {} can't be applied: {error}", model.content_type))
    })
}

impl Checks {
    pub(super) fn new(validation: &Validation) -> Self {
        let models = validation.models.iter();
        let models = models.map(|model| (model.content_type.clone(), compiled(model).ok())).collect();
        Self { required: validation.required.clone(), models }
    }

    pub(super) fn has_models(&self) -> bool {
        !self.models.is_empty()
    }

    /// Whether all is there that has to be.
    pub(super) fn head(&self, head: &Parts) -> Result<(), Response<Bytes>> {
        let query = pairs(head.uri.query().unwrap_or_default());
        let is_there = |parameter: &Parameter| match parameter {
            Parameter::Header(name) => {
                let mut values = head.headers.get_all(name.as_str()).iter();
                values.next_back().is_some_and(|value| !value.is_empty())
            }
            // To the letter, and of several values the last, as the function finds it.
            Parameter::Query(name) => {
                let mut values = query.iter().filter(|(known, _)| known == name).map(|(_, value)| value);
                values.next_back().is_some_and(|value| !value.is_empty())
            }
        };
        let missing = self.required.iter().filter(|parameter| !is_there(parameter));
        let missing: Vec<&str> = missing
            .map(|parameter| match parameter {
                Parameter::Header(name) | Parameter::Query(name) => name.as_str(),
            })
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        // Names of a file: quotes in them would end the text.
        let missing = missing.join(", ").replace(['"', '\\'], "");
        Err(bad(&format!("Missing required request parameters: [{missing}]")))
    }

    /// Whether the body is what its model says. Bodies of other media types are not looked at.
    pub(super) fn body(&self, head: &Parts, body: &[u8]) -> Result<(), Response<Bytes>> {
        let kind = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or(JSON);
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let Some((_, schema)) = self.models.iter().find(|(known, _)| known.eq_ignore_ascii_case(kind)) else {
            return Ok(());
        };
        let Some(schema) = schema else {
            return Err(apis::message(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error"));
        };
        match serde_json::from_slice::<Value>(body) {
            Ok(value) if schema.is_valid(&value) => Ok(()),
            _ => Err(bad("Invalid request body")),
        }
    }
}

fn bad(text: &str) -> Response<Bytes> {
    apis::message(StatusCode::BAD_REQUEST, text)
}

#[cfg(test)]
mod tests {
    use http::Request;
    use serde_json::json;

    use super::*;

    fn model(schema: Value) -> Model {
        Model { content_type: JSON.to_owned(), schema }
    }

    #[track_caller]
    fn check(kind: Option<&str>, body: &str, expected: bool) {
        let schema = json!({"type": "object", "required": ["name"], "additionalProperties": false,
            "properties": {"name": {"type": "string", "pattern": "^[a-z]+$"}, "age": {"$ref": "#/definitions/Age"}},
            "definitions": {"Age": {"type": "integer", "minimum": 0, "exclusiveMinimum": true}}});
        let checks = Checks::new(&Validation { required: Vec::new(), models: vec![model(schema)] });
        let request = Request::post("/");
        let request = kind.iter().fold(request, |request, kind| request.header(CONTENT_TYPE, *kind));
        let (head, ()) = request.body(()).unwrap().into_parts();
        assert_eq!(checks.body(&head, body.as_bytes()).is_ok(), expected, "{body}");
    }

    #[test]
    fn bodies_are_what_their_schema_says() {
        check(None, r#"{"name": "ada", "age": 1}"#, true);
        check(Some("application/json; charset=utf-8"), r#"{"name": "ada"}"#, true);
        // Draft 4 has a flag where later ones have a number.
        check(None, r#"{"name": "ada", "age": 0}"#, false);
        for body in ["", "{", "7", "{}", r#"{"name": 7}"#, r#"{"name": "A"}"#, r#"{"name": "a", "more": 1}"#]
        {
            check(None, body, false);
        }
        check(Some("text/plain"), "anything", true);
    }

    #[test]
    fn what_is_required_must_be_there() {
        let required = vec![Parameter::Header("X-User".into()), Parameter::Query("page".into())];
        let checks = Checks::new(&Validation { required, models: Vec::new() });
        let check = |request: http::request::Builder, expected: Option<&str>| {
            let (head, ()) = request.body(()).unwrap().into_parts();
            let found = checks.head(&head).err();
            let found = found.map(|answer| String::from_utf8(answer.body().to_vec()).unwrap());
            let expected = expected
                .map(|names| format!("{{\"message\":\"Missing required request parameters: [{names}]\"}}"));
            assert_eq!(found, expected);
        };
        check(Request::get("/?page=1").header("x-user", "a"), None);
        check(Request::get("/?page="), Some("X-User, page"));
        check(Request::get("/?PAGE=1&Page=2").header("x-user", "a"), Some("page"));
        check(Request::get("/?PAGE=&p%61ge=2").header("x-user", "a"), None);
        check(
            Request::get("/?page=1&page=").header("x-user", "a").header("x-user", ""),
            Some("X-User, page"),
        );
        check(Request::get("/?page=&page=1").header("x-user", "").header("x-user", "a"), None);
        check(Request::get("/?page=2").header("x-user", ""), Some("X-User"));
    }

    #[test]
    fn a_schema_that_is_none_is_a_fault() {
        let fault = |schema: Value| {
            let validation = Validation { required: Vec::new(), models: vec![model(schema)] };
            faults(&validation).next()
        };
        assert_eq!(fault(json!({"type": "object"})), None);
        for schema in [
            json!({"type": "objekt"}),
            json!({"$ref": "#/definitions/Gone"}),
            json!({"$ref": "http://127.0.0.1:1/schema.json"}),
            json!({"pattern": "(?=a)"}),
        ] {
            assert!(fault(schema.clone()).is_some(), "{schema}");
        }
    }
}
