//! Tables: insert, keys, filters, limits.

use ingle_types::filter::Filter;
use serde_json::{Value, json};

use super::*;

fn entity(partition_key: &str, row_key: &str, properties: &Value) -> Operation {
    Operation::InsertEntity(NewEntity {
        table: "Notes".to_owned(),
        partition_key: partition_key.to_owned(),
        row_key: row_key.to_owned(),
        properties: properties.as_object().unwrap().clone(),
    })
}

async fn find(fixture: &Fixture, query: EntityQuery) -> Vec<String> {
    let found = fixture.store.query_entities("notes", query).await.unwrap();
    found.into_iter().map(|entity| format!("{}/{}", entity.partition_key, entity.row_key)).collect()
}

fn filter(text: &str) -> EntityQuery {
    EntityQuery { filter: Some(Filter::parse(text).unwrap()), ..EntityQuery::default() }
}

#[tokio::test]
async fn entities_are_found_by_key_and_filter_in_the_order_of_their_keys() {
    let fixture = Fixture::new();
    let steps = [("b", "2"), ("a", "10"), ("b", "1"), ("a", "9")];
    for (partition_key, row_key) in steps {
        let count: i64 = row_key.parse().unwrap();
        fixture.store.commit(vec![entity(partition_key, row_key, &json!({"Count": count}))]).await.unwrap();
        fixture.clock.advance(SECOND);
    }
    let fixture = fixture.reopen();
    assert_eq!(find(&fixture, EntityQuery::default()).await, ["a/10", "a/9", "b/1", "b/2"]);
    assert_eq!(find(&fixture, EntityQuery::one("b", "1")).await, ["b/1"]);
    assert_eq!(find(&fixture, EntityQuery::one("b", "9")).await, [""; 0]);
    assert_eq!(find(&fixture, filter("PartitionKey eq 'a' and Count gt 9")).await, ["a/10"]);
    assert_eq!(find(&fixture, filter("RowKey ge '2'")).await, ["a/9", "b/2"]);
    assert_eq!(find(&fixture, filter("PartitionKey eq 'a' or RowKey eq '1'")).await, ["a/10", "a/9", "b/1"]);
    assert_eq!(find(&fixture, filter("Timestamp gt datetime'2027-01-15T08:00:01Z'")).await, ["a/9", "b/1"]);
    let two = EntityQuery { take: Some(2), ..filter("Count lt 10") };
    assert_eq!(find(&fixture, two).await, ["a/9", "b/1"]);
    let summary = fixture.store.tables().await.unwrap();
    assert_eq!(summary, [TableSummary { name: "Notes".to_owned(), entities: 4 }]);
}

#[tokio::test]
async fn a_second_entity_with_the_same_keys_takes_the_whole_commit_back() {
    let fixture = Fixture::new();
    fixture.store.commit(vec![entity("a", "1", &json!({"first": true}))]).await.unwrap();
    let both = vec![entity("a", "2", &json!({})), entity("a", "1", &json!({"first": false}))];
    let error = fixture.store.commit(both).await.unwrap_err();
    assert_eq!(error.code(), "E0418", "{error}");
    let kept = fixture.store.query_entities("Notes", EntityQuery::default()).await.unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].properties["first"], true);
}

#[tokio::test]
async fn what_a_table_can_not_hold_is_refused() {
    let fixture = Fixture::new();
    let many: Value =
        (0..253).map(|number| (format!("p{number}"), json!(1))).collect::<serde_json::Map<_, _>>().into();
    let cases = [
        entity("a/b", "1", &json!({})),
        entity("a", "1\n", &json!({})),
        entity(&"x".repeat(513), "1", &json!({})),
        entity("a", "1", &json!({"nested": {"a": 1}})),
        entity("a", "1", &json!({"": 1})),
        entity("a", "1", &json!({"text": "x".repeat(1 << 20)})),
        entity("a", "1", &many),
    ];
    for case in cases {
        let error = fixture.store.commit(vec![case]).await.unwrap_err();
        assert_eq!(error.code(), "E0419", "{error}");
    }
    assert_eq!(fixture.store.tables().await.unwrap(), []);
    fixture.store.commit(vec![entity("", "", &json!({"empty": "keys are keys"}))]).await.unwrap();
    assert_eq!(find(&fixture, EntityQuery::one("", "")).await, ["/"]);
}

#[tokio::test]
async fn a_reset_removes_one_table_or_all() {
    let fixture = Fixture::new();
    for row_key in ["1", "2"] {
        fixture.store.commit(vec![entity("a", row_key, &json!({}))]).await.unwrap();
    }
    assert_eq!(fixture.store.reset(Reset::Table("Other".to_owned())).await.unwrap().entities, 0);
    assert_eq!(fixture.store.reset(Reset::Table("NOTES".to_owned())).await.unwrap().entities, 2);
    assert_eq!(fixture.store.tables().await.unwrap(), []);
    fixture.store.commit(vec![entity("a", "1", &json!({}))]).await.unwrap();
    assert_eq!(fixture.store.reset(Reset::All).await.unwrap().entities, 1);
    assert_eq!(find(&fixture, EntityQuery::default()).await, [""; 0]);
}

/// A binding without `take` must not fill the memory.
#[tokio::test]
async fn more_than_fits_into_memory_is_refused_and_take_helps() {
    let fixture = Fixture::new();
    let text = "x".repeat(1_000_000);
    for number in 0..68 {
        let step = entity("a", &format!("{number:02}"), &json!({"text": text}));
        fixture.store.commit(vec![step]).await.unwrap();
    }
    let error = fixture.store.query_entities("Notes", EntityQuery::default()).await.unwrap_err();
    assert_eq!(error.code(), "E0424");
    assert!(error.to_string().contains("64 MiB") && error.hint().unwrap().contains("`take`"), "{error}");
    let some = EntityQuery { take: Some(50), ..EntityQuery::default() };
    assert_eq!(find(&fixture, some).await.len(), 50);
    assert_eq!(find(&fixture, filter("RowKey ge '60'")).await.len(), 8);
}

#[tokio::test]
async fn more_entities_than_a_page_are_all_found() {
    let fixture = Fixture::new();
    let steps = (0..1203)
        .map(|number| entity(&format!("{}", number % 2), &format!("{number:05}"), &json!({"n": number})));
    fixture.store.commit(steps.collect()).await.unwrap();
    assert_eq!(find(&fixture, EntityQuery::default()).await.len(), 1203);
    assert_eq!(find(&fixture, filter("PartitionKey eq '1'")).await.len(), 601);
    assert_eq!(find(&fixture, filter("n ge 1000")).await.len(), 203);
    let last = EntityQuery { take: Some(1), ..filter("n eq 1201") };
    assert_eq!(find(&fixture, last).await, ["1/01201"]);
}
