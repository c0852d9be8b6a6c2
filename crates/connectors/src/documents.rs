//! Documents (`cosmosDB`) in the embedded store: read by id or query, written by upsert.

pub mod feed;

use ingle_store::{ContainerName, Operation, Store};
use ingle_types::datum::Datum;
use ingle_types::expression::{ExpressionError, Part, Scope, Template};
use ingle_types::spec::{DocumentInput, DocumentOutput};
use serde_json::Value;

use crate::OutputContext;
use crate::collect::{Element, elements};
use crate::error::Error;

/// What an input binding asks for, once its expressions have values.
#[derive(Debug, PartialEq)]
pub struct Request {
    container: ContainerName,
    what: What,
}

#[derive(Debug, PartialEq)]
enum What {
    One { id: String, partition_key: Option<String> },
    Query { sql: String, parameters: Vec<(String, Value)> },
}

/// Fills in the expressions of an input binding.
///
/// # Errors
/// [`Error::Expression`].
pub fn request(binding: &str, input: &DocumentInput, scope: &dyn Scope) -> Result<Request, Error> {
    let failed = |source| Error::Expression { binding: binding.to_owned(), source };
    let resolve = |template: &Template| template.resolve(scope).map_err(failed);
    let container = ContainerName::new(&resolve(&input.database)?, &resolve(&input.container)?);
    let what = match (&input.id, &input.sql_query) {
        (Some(id), _) => What::One {
            id: resolve(id)?,
            partition_key: input.partition_key.as_ref().map(resolve).transpose()?,
        },
        (None, Some(query)) => {
            let (sql, parameters) = parameterised(query, scope).map_err(failed)?;
            What::Query { sql, parameters }
        }
        (None, None) => What::Query { sql: "SELECT * FROM c".to_owned(), parameters: Vec::new() },
    };
    Ok(Request { container, what })
}

/// Turns `{name}` in a query into parameters, so that a value can never change what the query says.
fn parameterised(
    query: &Template,
    scope: &dyn Scope,
) -> Result<(String, Vec<(String, Value)>), ExpressionError> {
    let mut sql = String::new();
    let mut parameters = Vec::new();
    for part in query.parts() {
        match part {
            Part::Literal(text) => sql.push_str(text),
            Part::Expression { .. } => {
                let Some(value) = part.resolve(scope) else {
                    let message = format!("`{part}` has no value for this event");
                    return Err(ExpressionError { position: sql.chars().count(), message });
                };
                let name = format!("@ingle{}", parameters.len());
                sql.push_str(&name);
                parameters.push((name, Value::String(value)));
            }
        }
    }
    Ok((sql, parameters))
}

/// Reads what an input binding asks for: one document (or nothing), or the JSON array of a query's results.
///
/// # Errors
/// [`Error::Input`].
pub async fn read(store: &Store, binding: &str, request: Request) -> Result<Datum, Error> {
    let failed = |source| Error::Input { binding: binding.to_owned(), source };
    match request.what {
        What::One { id, partition_key } => {
            let key = partition_key.map(Value::String);
            let found = store.read_document(&request.container, &id, key.as_ref()).await.map_err(failed)?;
            Ok(found.map_or(Datum::Nothing, |document| Datum::Json(document.body.to_string())))
        }
        What::Query { sql, parameters } => {
            let rows = store.query_documents(&request.container, &sql, &parameters).await.map_err(failed)?;
            Ok(Datum::Json(Value::Array(rows).to_string()))
        }
    }
}

/// The upserts that writing `value` comes to.
///
/// # Errors
/// [`Error`]: an expression without value, or something that is no JSON object.
pub fn write(
    binding: &str,
    output: &DocumentOutput,
    value: Datum,
    context: &OutputContext<'_>,
) -> Result<Vec<Operation>, Error> {
    let failed = |source| Error::Expression { binding: binding.to_owned(), source };
    let resolve = |template: &Template| template.resolve(context.scope).map_err(failed);
    let container = ContainerName::new(&resolve(&output.database)?, &resolve(&output.container)?);
    elements(value)
        .into_iter()
        .map(|element| {
            Ok(Operation::UpsertDocument {
                container: container.clone(),
                body: object(binding, &element)?,
                partition_key_path: output.partition_key_path.clone(),
                hop_count: context.hop_count + 1,
            })
        })
        .collect()
}

fn object(binding: &str, element: &Element) -> Result<Value, Error> {
    let refused = |problem: String| Error::Value { binding: binding.to_owned(), problem };
    let parsed: Result<Value, _> = match element {
        Element::Text(text) => serde_json::from_str(text),
        Element::Bytes(bytes) => serde_json::from_slice(bytes),
    };
    match parsed {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(other) => Err(refused(format!("a document is a JSON object, this is {}", kind(&other)))),
        Err(error) => Err(refused(format!("a document is a JSON object, this is no JSON: {error}"))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingle_types::event::Trace;
    use ingle_types::expression::BindingData;
    use ingle_types::spec::MessageEncoding;
    use std::time::UNIX_EPOCH;

    fn metadata() -> Vec<(String, Datum)> {
        vec![("customer".to_owned(), Datum::Text("x' OR 1=1".to_owned()))]
    }

    fn input(id: Option<&str>, query: Option<&str>) -> DocumentInput {
        DocumentInput {
            database: Template::literal("shop"),
            container: Template::literal("orders"),
            id: id.map(|id| Template::parse(id).unwrap()),
            partition_key: None,
            sql_query: query.map(|query| Template::parse(query).unwrap()),
        }
    }

    #[test]
    fn a_value_in_a_query_becomes_a_parameter() {
        let metadata = metadata();
        let scope = BindingData::new("f", &metadata, &Datum::Nothing, UNIX_EPOCH);
        let query = "SELECT * FROM c WHERE c.customer = {customer} AND c.open = true";
        let request = request("orders", &input(None, Some(query)), &scope).unwrap();
        let What::Query { sql, parameters } = request.what else { panic!("not a query") };
        assert_eq!(sql, "SELECT * FROM c WHERE c.customer = @ingle0 AND c.open = true");
        assert_eq!(parameters, vec![("@ingle0".to_owned(), Value::from("x' OR 1=1"))]);
    }

    #[test]
    fn an_expression_without_value_names_binding_and_expression() {
        let scope = BindingData::new("f", &[], &Datum::Nothing, UNIX_EPOCH);
        let error = request("orders", &input(Some("{id}"), None), &scope).unwrap_err();
        assert_eq!(error.code(), "E0307");
        assert!(error.failure().message.contains("`{id}`"), "{}", error.failure().message);
    }

    fn written(value: Datum) -> Result<Vec<Value>, Error> {
        let scope = BindingData::new("f", &[], &Datum::Nothing, UNIX_EPOCH);
        let output = DocumentOutput {
            database: Template::literal("shop"),
            container: Template::literal("orders"),
            partition_key_path: None,
        };
        let context = OutputContext {
            scope: &scope,
            trace: &Trace::default(),
            hop_count: 0,
            encoding: MessageEncoding::Base64,
        };
        let operations = write("out", &output, value, &context)?;
        Ok(operations
            .into_iter()
            .map(|operation| match operation {
                Operation::UpsertDocument { body, .. } => body,
                other => panic!("{other:?}"),
            })
            .collect())
    }

    #[test]
    fn objects_and_lists_of_objects_are_upserted() {
        let one = written(Datum::Json(r#"{"id": "1"}"#.to_owned())).unwrap();
        assert_eq!(one, [serde_json::json!({"id": "1"})]);
        let two = written(Datum::Text(r#"[{"id":"1"},{"id":"2"}]"#.to_owned())).unwrap();
        assert_eq!(two.len(), 2);
        assert!(written(Datum::Nothing).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_object_is_refused_with_the_reason() {
        let message = |value| written(value).unwrap_err().to_string();
        assert!(message(Datum::Text("hello".to_owned())).contains("no JSON"));
        assert!(message(Datum::Json("5".to_owned())).contains("a number"));
    }
}
