//! Tables in the embedded store: entities read by keys or filter, and inserted.
//!
//! A function sees an entity as one JSON object: `PartitionKey`, `RowKey` and the properties beside them.

pub mod remote;

use std::sync::Arc;

use ingle_store::{Entity, EntityQuery, NewEntity, Operation, Store, check_table_name};
use ingle_types::account::{Account, StorageAccount};
use ingle_types::datum::Datum;
use ingle_types::expression::{ExpressionError, Part, Scope, Template};
use ingle_types::filter::Filter;
use ingle_types::spec::TableInput;
use serde_json::{Map, Value};

use crate::OutputContext;
use crate::account::Accounts;
use crate::collect::{Element, elements};
use crate::error::Error;
use crate::foreign::{ForeignWrite, What, Writes};

const PARTITION_KEY: &str = "PartitionKey";
const ROW_KEY: &str = "RowKey";
/// Set by the service; an entity that was read can be written elsewhere as it is.
const SYSTEM_PROPERTIES: [&str; 3] = ["Timestamp", "odata.etag", "ETag"];

/// What an input binding asks for, once its expressions have values.
#[derive(Debug, PartialEq)]
pub struct Request {
    table: String,
    query: EntityQuery,
    /// The filter as text, for accounts.
    filter_text: Option<String>,
    /// One entity or nothing, rather than a list.
    one: bool,
}

/// Fills in the expressions of an input binding.
///
/// # Errors
/// [`Error::Expression`], [`Error::Filter`].
pub fn request(binding: &str, input: &TableInput, scope: &dyn Scope) -> Result<Request, Error> {
    let failed = |source| Error::Expression { binding: binding.to_owned(), source };
    let resolve = |template: &Template| template.resolve(scope).map_err(failed);
    let mut filter_text_found = None;
    let filter = match &input.filter {
        Some(template) => {
            let text = filter_text(template, scope).map_err(failed)?;
            let wrong = |source| Error::Filter { binding: binding.to_owned(), text: text.clone(), source };
            let filter = Filter::parse(&text).map_err(wrong)?;
            filter_text_found = Some(text);
            Some(filter)
        }
        None => None,
    };
    let partition_key = input.partition_key.as_ref().map(resolve).transpose()?;
    let row_key = input.row_key.as_ref().map(resolve).transpose()?;
    let one = partition_key.is_some() && row_key.is_some();
    let query = EntityQuery { partition_key, row_key, filter, take: input.take };
    Ok(Request { table: resolve(&input.table)?, query, filter_text: filter_text_found, one })
}

/// Puts values into a filter so that none can change what the filter says: between quotes it stays text; elsewhere
/// a number or a truth value stands for itself and everything else becomes a text.
fn filter_text(filter: &Template, scope: &dyn Scope) -> Result<String, ExpressionError> {
    let mut text = String::new();
    for part in filter.parts() {
        match (part, part.resolve(scope)) {
            (Part::Literal(literal), _) => text.push_str(literal),
            (Part::Expression { .. }, Some(value)) => {
                // Doubled quotes keep the count even, so an odd one means that a text is open.
                let is_in_text = text.matches('\'').count() % 2 == 1;
                let doubled = value.replace('\'', "''");
                if is_in_text {
                    text.push_str(&doubled);
                } else if is_plain(&value) {
                    text.push_str(&value);
                } else {
                    text.push_str(&format!("'{doubled}'"));
                }
            }
            (Part::Expression { .. }, None) => {
                let message = format!("`{part}` has no value for this event");
                return Err(ExpressionError { position: text.chars().count(), message });
            }
        }
    }
    Ok(text)
}

fn is_plain(value: &str) -> bool {
    value == "true" || value == "false" || serde_json::from_str::<serde_json::Number>(value).is_ok()
}

/// Reads what an input binding asks for: one entity (or nothing), or a JSON array.
///
/// # Errors
/// [`Error::Input`].
pub async fn read(
    store: &Store,
    (accounts, account): (&Accounts, &Account),
    binding: &str,
    request: Request,
) -> Result<Datum, Error> {
    if let Some(account) = account.remote() {
        return read_remote(accounts, account, binding, &request).await;
    }
    let found = store.query_entities(&request.table, request.query).await;
    let found = found.map_err(|source| Error::Input { binding: binding.to_owned(), source })?;
    let mut shown = found.into_iter().map(object_of);
    if request.one {
        return Ok(shown.next().map_or(Datum::Nothing, |entity| Datum::Json(entity.to_string())));
    }
    Ok(Datum::Json(Value::Array(shown.collect()).to_string()))
}

async fn read_remote(
    accounts: &Accounts,
    account: &Arc<StorageAccount>,
    binding: &str,
    request: &Request,
) -> Result<Datum, Error> {
    let failed = |fault| {
        let action = format!("table {} in {} can't be read", request.table, account.connection);
        Error::Account { binding: binding.to_owned(), action, fault }
    };
    let client = accounts.client(account).map_err(failed)?;
    let query = remote::Query {
        table: &request.table,
        partition_key: request.query.partition_key.as_deref(),
        row_key: request.query.row_key.as_deref(),
        filter: request.filter_text.as_deref(),
        take: request.query.take,
    };
    let found = client.note(remote::read(&client, &query).await).map_err(failed)?;
    Ok(remote::shown(found, request.one))
}

/// An entity as functions and `ingle state` show it.
fn object_of(entity: Entity) -> Value {
    let mut object = Map::new();
    object.insert(PARTITION_KEY.to_owned(), Value::String(entity.partition_key));
    object.insert(ROW_KEY.to_owned(), Value::String(entity.row_key));
    object.extend(entity.properties);
    Value::Object(object)
}

/// An output binding with its parts.
pub struct Output<'a> {
    pub binding: &'a str,
    pub account: &'a Account,
    pub table: &'a Template,
    /// For entities without a key of their own.
    pub partition_key: Option<&'a Template>,
    pub row_key: Option<&'a Template>,
}

/// The insertions that writing `value` comes to.
///
/// # Errors
/// [`Error`]: an expression without value, something that is no JSON object, or a key that nobody gives.
pub fn write(output: &Output<'_>, value: Datum, context: &OutputContext<'_>) -> Result<Writes, Error> {
    let binding = output.binding;
    let failed = |source| Error::Expression { binding: binding.to_owned(), source };
    let resolve = |template: &Template| template.resolve(context.scope).map_err(failed);
    let refused = |problem: String| Error::Value { binding: binding.to_owned(), problem };
    let table = resolve(output.table)?;
    check_table_name(&table)
        .map_err(|problem| refused(format!("`{table}` can't be the name of a table: {problem}")))?;
    let mut writes = Writes::default();
    for element in elements(value) {
        let mut properties = properties(&element).map_err(&refused)?;
        let mut key = |name: &str, template: Option<&Template>| {
            let own = properties.shift_remove(name).and_then(|value| key_text(&value));
            match (own, template) {
                (Some(key), _) => Ok(key),
                (None, Some(template)) => resolve(template),
                (None, None) => Err(refused(format!("neither the entity nor the binding has a {name}"))),
            }
        };
        let partition_key = key(PARTITION_KEY, output.partition_key)?;
        let row_key = key(ROW_KEY, output.row_key)?;
        let table = table.clone();
        let entity = NewEntity { table, partition_key, row_key, properties };
        match output.account.remote() {
            Some(account) => writes.foreign.push(ForeignWrite {
                binding: binding.to_owned(),
                account: account.clone(),
                what: What::Entity(entity),
            }),
            None => writes.operations.push(Operation::InsertEntity(entity)),
        }
    }
    Ok(writes)
}

/// The properties of an element that is a JSON object: nulls are left out, lists and objects are kept as JSON text,
/// as a table holds plain values only.
fn properties(element: &Element) -> Result<Map<String, Value>, String> {
    let parsed: Result<Value, _> = match element {
        Element::Text(text) => serde_json::from_str(text),
        Element::Bytes(bytes) => serde_json::from_slice(bytes),
    };
    let Value::Object(mut object) =
        parsed.map_err(|error| format!("an entity is a JSON object, this is no JSON: {error}"))?
    else {
        return Err("an entity is a JSON object, this is another kind of JSON".to_owned());
    };
    object.retain(|name, value| !value.is_null() && !SYSTEM_PROPERTIES.contains(&name.as_str()));
    for value in object.values_mut() {
        if value.is_array() || value.is_object() {
            *value = Value::String(value.to_string());
        }
    }
    Ok(object)
}

fn key_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingle_types::event::Trace;
    use ingle_types::expression::BindingData;
    use ingle_types::spec::MessageEncoding;
    use proptest::prelude::*;
    use std::time::UNIX_EPOCH;

    fn with_scope<T>(payload: &str, work: impl FnOnce(&dyn Scope) -> T) -> T {
        let payload = Datum::Text(payload.to_owned());
        work(&BindingData::new("f", &[], &payload, UNIX_EPOCH))
    }

    /// Inserted entities as `partition/row {properties}`, or the message.
    #[track_caller]
    fn check(value: Datum, row_key: Option<&str>, expect: Result<&[&str], &str>) {
        let found = with_scope(r#"{"owner": "ann"}"#, |scope| {
            let context = OutputContext {
                scope,
                trace: &Trace::default(),
                hop_count: 0,
                encoding: MessageEncoding::Base64,
            };
            let (table, partition_key) = (Template::literal("Notes"), Template::parse("{owner}").unwrap());
            let row_key = row_key.map(Template::literal);
            let output = Output {
                binding: "out",
                account: &Account::Embedded,
                table: &table,
                partition_key: Some(&partition_key),
                row_key: row_key.as_ref(),
            };
            write(&output, value, &context)
        });
        let shown = |operation: &Operation| match operation {
            Operation::InsertEntity(entity) => {
                let properties = Value::Object(entity.properties.clone());
                format!("{}/{} {properties}", entity.partition_key, entity.row_key)
            }
            other => panic!("{other:?}"),
        };
        match (found, expect) {
            (Ok(operations), Ok(expect)) => {
                assert_eq!(operations.operations.iter().map(shown).collect::<Vec<_>>(), expect);
            }
            (Err(error), Err(expect)) => assert!(error.to_string().contains(expect), "{error}"),
            (found, expect) => panic!("{found:?} instead of {expect:?}"),
        }
    }

    #[test]
    fn keys_come_from_the_entity_or_the_binding() {
        let json = |text: &str| Datum::Json(text.to_owned());
        check(json(r#"{"RowKey": "1", "Text": "a"}"#), None, Ok(&[r#"ann/1 {"Text":"a"}"#]));
        check(json(r#"{"PartitionKey": "bob", "RowKey": 7}"#), Some("x"), Ok(&["bob/7 {}"]));
        check(json(r#"[{"RowKey": "1"}, {"RowKey": "2"}]"#), None, Ok(&["ann/1 {}", "ann/2 {}"]));
        check(Datum::Text(r#"{"Text": "a"}"#.to_owned()), Some("x"), Ok(&[r#"ann/x {"Text":"a"}"#]));
        check(
            json(r#"{"RowKey": "1", "Timestamp": "t", "Gone": null, "Tags": ["a"]}"#),
            None,
            Ok(&[r#"ann/1 {"Tags":"[\"a\"]"}"#]),
        );
        check(Datum::Nothing, None, Ok(&[]));
        check(json(r#"{"Text": "a"}"#), None, Err("neither the entity nor the binding has a RowKey"));
        check(json("5"), None, Err("another kind of JSON"));
        check(Datum::Text("hello".to_owned()), None, Err("no JSON"));
    }

    fn filled(template: &str, payload: &Value) -> String {
        let template = Template::parse(template).unwrap();
        with_scope(&payload.to_string(), |scope| filter_text(&template, scope).unwrap())
    }

    #[test]
    fn values_in_filters_keep_their_kind() {
        let payload = serde_json::json!({"n": 5, "yes": true, "name": "o'brien"});
        assert_eq!(
            filled("A eq {n} and B eq {yes} and C eq {name}", &payload),
            "A eq 5 and B eq true and C eq 'o''brien'"
        );
        assert_eq!(
            filled("A eq '{n}-{name}' and B eq {name}", &payload),
            "A eq '5-o''brien' and B eq 'o''brien'"
        );
    }

    #[tokio::test]
    async fn entities_are_read_back_as_json() {
        use ingle_types::clock::SystemClock;
        use ingle_types::faults::Faults;
        use ingle_types::health::Health;
        let directory = tempfile::tempdir().unwrap();
        let options = ingle_store::Options::new(directory.path());
        let store = Store::open(options, std::sync::Arc::new(SystemClock), Faults::none()).unwrap();
        let accounts = Accounts::new(std::sync::Arc::new(SystemClock), Health::default());
        let properties = Map::from_iter([("Text".to_owned(), Value::from("hello"))]);
        let new = |row_key: &str| {
            let (table, partition_key) = ("Notes".to_owned(), "ann".to_owned());
            Operation::InsertEntity(NewEntity {
                table,
                partition_key,
                row_key: row_key.to_owned(),
                properties: properties.clone(),
            })
        };
        store.commit(vec![new("1"), new("2")]).await.unwrap();
        let read_one = async |row_key: Option<&str>, filter: Option<&str>| {
            let input = TableInput {
                table: Template::literal("Notes"),
                partition_key: Some(Template::parse("{owner}").unwrap()),
                row_key: row_key.map(Template::literal),
                filter: filter.map(Template::literal),
                take: None,
            };
            let request = with_scope(r#"{"owner": "ann"}"#, |scope| request("in", &input, scope))?;
            read(&store, (&accounts, &Account::Embedded), "in", request).await
        };
        let one = r#"{"PartitionKey":"ann","RowKey":"1","Text":"hello"}"#;
        assert_eq!(read_one(Some("1"), None).await.unwrap(), Datum::Json(one.to_owned()));
        assert_eq!(read_one(Some("9"), None).await.unwrap(), Datum::Nothing);
        assert_eq!(read_one(None, Some("RowKey lt '2'")).await.unwrap(), Datum::Json(format!("[{one}]")));
        let error = read_one(None, Some("RowKey = 2")).await.unwrap_err();
        assert_eq!(error.failure().code, "E0417");
        assert!(error.failure().message.contains("at character 8"), "{}", error.failure().message);
        store.close().await;
    }

    proptest! {
        /// A value from outside never changes what a filter says.
        #[test]
        fn no_value_escapes_from_a_filter(value in "(\\PC|'){0,20}") {
            let payload = serde_json::json!({"name": value});
            let quoted = Filter::parse(&filled("A eq '{name}'", &payload)).unwrap();
            prop_assert_eq!(quoted.required_text("A"), Some(value.as_str()));
            let bare = Filter::parse(&filled("A eq {name}", &payload)).unwrap();
            prop_assert!(is_plain(&value) || bare.required_text("A") == Some(value.as_str()));
        }
    }
}
