//! Tables in an account of Azure Storage: a small client of ours on the pipeline of the official ones, as none of them
//! knows tables. The wire is OData in JSON ("Table service REST API" in Azure's documentation).

use azure_core::http::headers::{HeaderName, HeaderValue};
use azure_core::http::{Method, PipelineSendOptions, RawResponse, Request, Url};
use ingle_store::NewEntity;
use ingle_types::datum::Datum;
use serde_json::{Map, Value, json};

use super::{PARTITION_KEY, ROW_KEY, SYSTEM_PROPERTIES};
use crate::account::fault::Fault;
use crate::account::{CALL_TIMEOUT, Client, VERSION, limited};

const TYPE_SUFFIX: &str = "@odata.type";
/// Where the next page begins.
const CONTINUATIONS: [(&str, &str); 2] = [
    ("x-ms-continuation-nextpartitionkey", "NextPartitionKey"),
    ("x-ms-continuation-nextrowkey", "NextRowKey"),
];
/// Entities of one page.
const PAGE: u32 = 1000;

/// Inserts an entity; the table is made if it is not there.
pub(crate) async fn insert(client: &Client, entity: NewEntity) -> Result<(), Fault> {
    let table = entity.table.clone();
    let body = typed(entity).to_string();
    let post = |path: String, body: String| send(client, Method::Post, path, &[], Some(body));
    match post(table.clone(), body.clone()).await {
        Err(fault) if fault.is_missing() => {
            match post("Tables".to_owned(), json!({"TableName": table}).to_string()).await {
                // Somebody else was faster.
                Err(fault) if fault.is_conflict() => {}
                result => drop(result?),
            }
            post(table, body).await.map(drop)
        }
        result => result.map(drop),
    }
}

/// What a table input asks for.
#[derive(Debug)]
pub(crate) struct Query<'a> {
    pub(crate) table: &'a str,
    pub(crate) partition_key: Option<&'a str>,
    pub(crate) row_key: Option<&'a str>,
    pub(crate) filter: Option<&'a str>,
    pub(crate) take: Option<u32>,
}

/// Reads entities as functions see them; a table that is not there has none.
pub(crate) async fn read(client: &Client, query: &Query<'_>) -> Result<Vec<Value>, Fault> {
    let mut found: Vec<Value> = Vec::new();
    let mut continuation: Vec<(String, String)> = Vec::new();
    let most = query.take.map_or(usize::MAX, |take| usize::try_from(take).unwrap_or(usize::MAX));
    while found.len() < most {
        let left = u32::try_from(most - found.len()).unwrap_or(PAGE).min(PAGE);
        let mut pairs = vec![("$top".to_owned(), left.to_string())];
        pairs.extend(filter(query).map(|filter| ("$filter".to_owned(), filter)));
        pairs.append(&mut continuation);
        let sent = send(client, Method::Get, format!("{}()", query.table), &pairs, None).await;
        let response = match sent {
            Err(fault) if fault.is_missing() => return Ok(Vec::new()),
            sent => sent?,
        };
        continuation.extend(CONTINUATIONS.iter().filter_map(|(header, parameter)| {
            let value = response.headers().get_optional_str(&HeaderName::from_static(header))?;
            Some(((*parameter).to_owned(), value.to_owned()))
        }));
        let unreadable = |_| Fault::refused("the answer is no JSON");
        let mut page: Value = serde_json::from_slice(response.body()).map_err(unreadable)?;
        let entities = page.get_mut("value").and_then(Value::as_array_mut);
        found.extend(entities.into_iter().flatten().map(|entity| plain(entity.take())));
        if continuation.is_empty() {
            break;
        }
    }
    found.truncate(most);
    Ok(found)
}

/// One entity or nothing, or the list of all.
pub(crate) fn shown(found: Vec<Value>, one: bool) -> Datum {
    if one {
        return found.into_iter().next().map_or(Datum::Nothing, |entity| Datum::Json(entity.to_string()));
    }
    Datum::Json(Value::Array(found).to_string())
}

fn filter(query: &Query<'_>) -> Option<String> {
    let key = |name: &str, value: Option<&str>| {
        value.map(|value| format!("{name} eq '{}'", value.replace('\'', "''")))
    };
    let own = query.filter.map(|filter| format!("({filter})"));
    let parts: Vec<String> = [key(PARTITION_KEY, query.partition_key), key(ROW_KEY, query.row_key), own]
        .into_iter()
        .flatten()
        .collect();
    (!parts.is_empty()).then(|| parts.join(" and "))
}

async fn send(
    client: &Client,
    method: Method,
    path: String,
    query: &[(String, String)],
    body: Option<String>,
) -> Result<RawResponse, Fault> {
    let (base, pipeline) =
        client.tables.as_ref().ok_or_else(|| Fault::refused("it has no address for tables"))?;
    let mut request = Request::new(address(base, &path, query), method);
    let mut header = |name: &'static str, value: &'static str| {
        request.insert_header(HeaderName::from_static(name), HeaderValue::from_static(value));
    };
    header("x-ms-version", VERSION);
    header("accept", "application/json;odata=minimalmetadata");
    header("dataserviceversion", "3.0");
    header("maxdataserviceversion", "3.0;NetFx");
    if let Some(body) = body {
        header("content-type", "application/json");
        header("prefer", "return-no-content");
        request.set_body(body);
    }
    let context = azure_core::http::Context::new();
    let options = PipelineSendOptions::default();
    limited(CALL_TIMEOUT, pipeline.send(&context, &mut request, Some(options))).await
}

fn address(base: &Url, path: &str, query: &[(String, String)]) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

/// An entity as the service takes it: numbers say which kind they are, unless the function says it itself
/// (`"Total@odata.type": "Edm.Int64"` beside `"Total": "5"`).
fn typed(entity: NewEntity) -> Value {
    let mut object = Map::new();
    object.insert(PARTITION_KEY.to_owned(), Value::String(entity.partition_key));
    object.insert(ROW_KEY.to_owned(), Value::String(entity.row_key));
    for (name, value) in &entity.properties {
        let says_it = entity.properties.contains_key(&format!("{name}{TYPE_SUFFIX}"));
        let kind = match value {
            Value::Number(number) if number.is_f64() => Some("Edm.Double"),
            Value::Number(number) if number.as_i64().is_none_or(|number| i32::try_from(number).is_err()) => {
                Some("Edm.Int64")
            }
            _ => None,
        };
        match kind.filter(|_| !says_it) {
            // JSON's numbers are not safe beyond 53 bits, so the service wants these as texts.
            Some("Edm.Int64") => {
                object.insert(format!("{name}{TYPE_SUFFIX}"), Value::from("Edm.Int64"));
                object.insert(name.clone(), Value::String(value.to_string()));
            }
            Some(kind) => {
                object.insert(format!("{name}{TYPE_SUFFIX}"), Value::from(kind));
                object.insert(name.clone(), value.clone());
            }
            None => {
                object.insert(name.clone(), value.clone());
            }
        }
    }
    Value::Object(object)
}

/// An entity as functions see it: numbers are numbers, dates and the like are texts.
fn plain(entity: Value) -> Value {
    let Value::Object(members) = entity else { return entity };
    let kinds: Map<String, Value> = members
        .iter()
        .filter(|(name, _)| name.ends_with(TYPE_SUFFIX))
        .map(|(name, kind)| (name.clone(), kind.clone()))
        .collect();
    let mut object = Map::new();
    for (name, value) in members {
        if name.contains("odata.") || SYSTEM_PROPERTIES.contains(&name.as_str()) {
            continue;
        }
        let kind = kinds.get(&format!("{name}{TYPE_SUFFIX}")).and_then(Value::as_str);
        let number = match (kind, &value) {
            (Some("Edm.Int64"), Value::String(text)) => text.parse::<i64>().ok().map(Value::from),
            _ => None,
        };
        object.insert(name, number.unwrap_or(value));
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_typed(properties: Value, expected: Value) {
        let Value::Object(properties) = properties else { panic!("no object") };
        let entity = NewEntity {
            table: "Notes".to_owned(),
            partition_key: "p".to_owned(),
            row_key: "r".to_owned(),
            properties: properties.clone(),
        };
        let mut wire = typed(entity);
        let Value::Object(members) = &mut wire else { panic!("no object") };
        members.shift_remove(PARTITION_KEY);
        members.shift_remove(ROW_KEY);
        assert_eq!(wire, expected);
    }

    #[test]
    fn numbers_say_their_kind() {
        check_typed(json!({"a": 5, "b": "x", "c": true}), json!({"a": 5, "b": "x", "c": true}));
        check_typed(
            json!({"big": 3_000_000_000_u64, "half": 0.5}),
            json!({"big@odata.type": "Edm.Int64", "big": "3000000000", "half@odata.type": "Edm.Double", "half": 0.5}),
        );
        let own = json!({"when@odata.type": "Edm.DateTime", "when": "2026-10-25T08:00:00Z"});
        check_typed(own.clone(), own);
    }

    #[test]
    fn entities_are_read_as_plain_values() {
        let wire = json!({"odata.etag": "W/x", "PartitionKey": "p", "RowKey": "r", "Timestamp": "t",
            "big@odata.type": "Edm.Int64", "big": "3000000000", "id@odata.type": "Edm.Guid", "id": "g", "n": 1});
        let expected =
            json!({"PartitionKey": "p", "RowKey": "r", "big": 3_000_000_000_u64, "id": "g", "n": 1});
        assert_eq!(plain(wire), expected);
    }

    #[test]
    fn keys_and_filter_are_one_question() {
        let check = |partition_key, row_key, own, expected: Option<&str>| {
            let query = Query { table: "Notes", partition_key, row_key, filter: own, take: None };
            assert_eq!(filter(&query).as_deref(), expected);
        };
        check(None, None, None, None);
        check(Some("o'brien"), Some("1"), None, Some("PartitionKey eq 'o''brien' and RowKey eq '1'"));
        check(Some("p"), None, Some("A eq 1 or B eq 2"), Some("PartitionKey eq 'p' and (A eq 1 or B eq 2)"));
    }

    #[test]
    fn addresses_keep_the_account_in_front() {
        let base = Url::parse("http://127.0.0.1:10002/shop").unwrap();
        let query = [("$filter".to_owned(), "A eq 'x&y'".to_owned())];
        assert_eq!(
            address(&base, "Notes()", &query).as_str(),
            "http://127.0.0.1:10002/shop/Notes()?%24filter=A+eq+%27x%26y%27"
        );
        let base = Url::parse("https://shop.table.core.windows.net").unwrap();
        assert_eq!(address(&base, "Tables", &[]).as_str(), "https://shop.table.core.windows.net/Tables");
    }
}
