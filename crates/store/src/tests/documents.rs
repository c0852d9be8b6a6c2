//! Documents: upsert, read, partition keys, system properties.

use serde_json::{Value, json};

use super::*;

fn orders() -> ContainerName {
    ContainerName::new("shop", "orders")
}

fn upsert(body: Value, path: Option<&str>) -> Operation {
    let partition_key_path = path.map(str::to_owned);
    Operation::UpsertDocument { container: orders(), body, partition_key_path, hop_count: 0 }
}

async fn read(fixture: &Fixture, id: &str, key: Option<Value>) -> Option<Document> {
    fixture.store.read_document(&orders(), id, key.as_ref()).await.unwrap()
}

#[tokio::test]
async fn a_document_is_replaced_as_a_whole_and_keeps_its_place() {
    let fixture = Fixture::new();
    fixture.store.commit(vec![upsert(json!({"id": "1", "a": 1}), None)]).await.unwrap();
    let first = read(&fixture, "1", Some(json!("1"))).await.unwrap();
    fixture.clock.advance(SECOND);
    let mut body = first.body.clone();
    body.as_object_mut().unwrap().insert("b".into(), json!(2));
    body.as_object_mut().unwrap().remove("a");
    fixture.store.commit(vec![upsert(body, None)]).await.unwrap();
    let fixture = fixture.reopen();
    let second = read(&fixture, "1", None).await.unwrap();
    assert_eq!((&second.body["a"], &second.body["b"]), (&Value::Null, &json!(2)));
    for stable in ["_rid", "_self"] {
        assert_eq!(first.body[stable], second.body[stable]);
    }
    assert_ne!(first.etag, second.etag);
    assert_eq!(second.body["_etag"], json!(format!("\"{}\"", second.etag)));
    assert_eq!((&first.body["_ts"], &second.body["_ts"]), (&json!(1_800_000_000), &json!(1_800_000_001)));
    assert_eq!(second.body["_attachments"], json!("attachments/"));
    assert!(second.change_number > first.change_number);
    assert_eq!(second.updated_at, start() + SECOND);
}

/// The hops of a version are kept with it; one that an older Ingle wrote has none.
#[tokio::test]
async fn a_document_knows_the_hops_of_its_version_also_in_a_store_of_before() {
    let fixture = Fixture::new();
    let container = orders();
    let far = Operation::UpsertDocument {
        container: container.clone(),
        body: json!({"id": "1"}),
        partition_key_path: None,
        hop_count: 5,
    };
    fixture.store.commit(vec![far, upsert(json!({"id": "2"}), None)]).await.unwrap();
    let hops = |changes: Vec<Document>| changes.iter().map(|change| change.hop_count).collect::<Vec<_>>();
    assert_eq!(hops(fixture.store.changes(&container, 0, 10).await.unwrap()), [5, 0]);
    fixture.store.commit(vec![upsert(json!({"id": "1"}), None)]).await.unwrap();
    assert_eq!(hops(fixture.store.changes(&container, 0, 10).await.unwrap()), [0, 0]);
    fixture.store.close().await;
    let connection = rusqlite::Connection::open(fixture.directory.path().join("ingle.db")).unwrap();
    let before = "ALTER TABLE documents DROP COLUMN hop_count; ALTER TABLE messages DROP COLUMN attributes;
         DROP INDEX messages_held; DROP INDEX messages_grouped; DROP INDEX messages_ready;
         ALTER TABLE messages DROP COLUMN group_name;
         CREATE INDEX messages_ready ON messages (queue_id, sequence) WHERE state = 0; DROP TABLE sent_once;
         ALTER TABLE messages DROP COLUMN wanted_at_ms;
         PRAGMA user_version = 4;";
    connection.execute_batch(before).unwrap();
    drop(connection);
    let fixture = fixture.reopen();
    assert_eq!(hops(fixture.store.changes(&container, 0, 10).await.unwrap()), [0, 0]);
}

#[tokio::test]
async fn partition_keys_separate_documents_with_one_id() {
    let fixture = Fixture::new();
    let path = Some("/customer/name");
    let body = |name: &str| json!({"id": "1", "customer": {"name": name}});
    let steps = vec![
        upsert(body("ann"), path),
        upsert(body("bob"), Some("/ignored")),
        upsert(json!({"id": "1"}), None),
        upsert(json!({"id": "2", "customer": {"name": 2.0}}), None),
    ];
    fixture.store.commit(steps).await.unwrap();
    assert_eq!(read(&fixture, "1", Some(json!("bob"))).await.unwrap().body["customer"]["name"], "bob");
    assert_eq!(read(&fixture, "1", Some(json!({}))).await.unwrap().partition_key, json!({}));
    assert_eq!(read(&fixture, "1", Some(json!("eve"))).await, None);
    assert_eq!(read(&fixture, "2", Some(json!(2))).await.unwrap().partition_key, json!(2));
    let error = fixture.store.read_document(&orders(), "1", None).await.unwrap_err();
    assert_eq!(error.code(), "E0414", "{error}");
    assert!(error.to_string().contains("ann") && error.to_string().contains("bob"), "{error}");
    let summary = fixture.store.containers().await.unwrap().remove(0);
    assert_eq!((summary.partition_key_path.as_str(), summary.documents), ("/customer/name", 4));
}

#[tokio::test]
async fn a_wrong_document_takes_the_commit_back() {
    let fixture = Fixture::new();
    let cases = [
        (json!({"id": 5}), "E0410"),
        (json!([1]), "E0411"),
        (json!({"id": "1", "text": "x".repeat(3 << 20)}), "E0412"),
        (json!({"id": "1", "customer": [1]}), "E0415"),
    ];
    for (body, code) in cases {
        let good = upsert(json!({"id": "good"}), Some("/customer"));
        let error = fixture.store.commit(vec![good, upsert(body, None)]).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
    }
    assert_eq!(read(&fixture, "good", None).await, None);
    assert_eq!(fixture.store.containers().await.unwrap(), [], "made in a commit that was taken back");
    fixture.store.commit(vec![upsert(json!({"id": "good"}), None)]).await.unwrap();
    assert!(read(&fixture, "good", None).await.is_some());
}

#[tokio::test]
async fn deleting_is_repeatable_and_listing_shows_the_latest_first() {
    let fixture = Fixture::new();
    for id in ["1", "2", "3", "1"] {
        fixture.store.commit(vec![upsert(json!({"id": id}), None)]).await.unwrap();
    }
    let ids = |documents: Vec<Document>| -> Vec<String> {
        documents.iter().map(|document| document.body["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(fixture.store.documents(&orders(), 2).await.unwrap()), ["1", "3"]);
    for _ in 0..2 {
        let delete = Operation::DeleteDocument {
            container: orders(),
            id: "3".into(),
            partition_key: Some(json!("3")),
        };
        fixture.store.commit(vec![delete]).await.unwrap();
    }
    assert_eq!(ids(fixture.store.documents(&orders(), 9).await.unwrap()), ["1", "2"]);
    let report = fixture.store.reset(Reset::Container(orders())).await.unwrap();
    assert_eq!(report, ResetReport { messages: 0, documents: 2, ..ResetReport::default() });
    assert_eq!(fixture.store.containers().await.unwrap(), []);
}

#[tokio::test]
async fn queries_see_documents_with_their_system_properties() {
    let fixture = Fixture::new();
    for number in 1..=3 {
        let body = json!({"id": number.to_string(), "total": number * 10});
        fixture.store.commit(vec![upsert(body, None)]).await.unwrap();
        fixture.clock.advance(SECOND);
    }
    let sql = "SELECT VALUE c.id FROM c WHERE c.total >= @least ORDER BY c._ts DESC";
    let found = fixture.store.query_documents(&orders(), sql, &[("@least".into(), json!(20))]).await.unwrap();
    assert_eq!(found, [json!("3"), json!("2")]);
    let nowhere = ContainerName::new("shop", "nothing");
    assert_eq!(
        fixture.store.query_documents(&nowhere, "SELECT * FROM c", &[]).await.unwrap(),
        Vec::<Value>::new()
    );
    let error = fixture.store.query_documents(&orders(), "SELECT * FROM c JOIN d", &[]).await.unwrap_err();
    assert_eq!(error.code(), "E0413", "{error}");
}

#[tokio::test]
async fn changes_come_in_order_each_document_once_in_its_latest_version() {
    let fixture = Fixture::new();
    for (id, text) in [("1", "old"), ("2", "b"), ("3", "c"), ("1", "new"), ("4", "d")] {
        fixture.store.commit(vec![upsert(json!({"id": id, "text": text}), None)]).await.unwrap();
    }
    let delete = Operation::DeleteDocument { container: orders(), id: "3".into(), partition_key: None };
    fixture.store.commit(vec![delete]).await.unwrap();
    let shown = |changes: &[Document]| -> Vec<String> {
        changes.iter().map(|change| format!("{}{}", change.body["id"], change.body["text"])).collect()
    };
    let first = fixture.store.changes(&orders(), 0, 2).await.unwrap();
    assert_eq!(shown(&first), ["\"2\"\"b\"", "\"1\"\"new\""]);
    let fixture = fixture.reopen();
    let rest = fixture.store.changes(&orders(), first[1].change_number, 9).await.unwrap();
    assert_eq!(shown(&rest), ["\"4\"\"d\""]);
    assert_eq!(fixture.store.last_change().await.unwrap(), rest[0].change_number);
    assert_eq!(fixture.store.changes(&orders(), u64::MAX, 9).await.unwrap(), []);
    assert_eq!(fixture.store.changes(&ContainerName::new("no", "where"), 0, 9).await.unwrap(), []);
}

#[tokio::test]
async fn a_batch_of_large_changes_is_cut_but_never_empty() {
    let fixture = Fixture::new();
    for number in 0..12 {
        let body = json!({"id": number.to_string(), "text": "x".repeat(2_000_000)});
        fixture.store.commit(vec![upsert(body, None)]).await.unwrap();
    }
    let batch = fixture.store.changes(&orders(), 0, 100).await.unwrap();
    assert_eq!(batch.len(), 9, "the one that passes 16 MiB is the last");
    assert_eq!(fixture.store.changes(&orders(), batch[8].change_number, 100).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_watch_tells_of_changes_of_its_container_only() {
    let fixture = Fixture::new();
    let mut watch = fixture.store.watch_container(&orders());
    let elsewhere = Operation::UpsertDocument {
        container: ContainerName::new("shop", "others"),
        body: json!({"id": "1"}),
        partition_key_path: None,
        hop_count: 0,
    };
    fixture.store.commit(vec![elsewhere]).await.unwrap();
    let quiet = tokio::time::timeout(Duration::ZERO, watch.changed()).await;
    assert!(quiet.is_err());
    fixture.store.commit(vec![upsert(json!({"id": "1"}), None)]).await.unwrap();
    watch.changed().await;
}
