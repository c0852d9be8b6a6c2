//! Bindings, one function at a time.

use ingle_types::clock::from_unix_ms;
use ingle_types::spec::{AppSpec, BindingKind, FeedStart, TriggerSpec};

use super::{check_with, options};

const TRIGGER: &str = r#"{"type": "queueTrigger", "name": "msg", "queueName": "orders"}"#;

/// One function `F` with these bindings, each on a line of its own from line 2 on.
fn check_bindings(bindings: &[&str], settings: &[(&str, &str)], problems: &[&str]) -> AppSpec {
    let text = format!("{{\"bindings\": [\n{}\n]}}", bindings.join(",\n"));
    let functions: &[&str] =
        if problems.iter().any(|problem| problem.starts_with("error")) { &[] } else { &["F"] };
    check_with(&[("F/function.json", &text), ("F/__init__.py", "")], &options(settings), problems, functions)
}

/// As [`check_bindings`], with one problem that keeps the only function from running.
fn refused(bindings: &[&str], problem: &str) {
    check_bindings(bindings, &[], &[problem, "error[E0206]: the only function has an error or is left out"]);
}

#[test]
fn bindings_are_checked_one_by_one() {
    refused(&[], "error[E0207] F/function.json:1: F has no trigger");
    refused(
        &[TRIGGER, &TRIGGER.replace("msg", "b")],
        "error[E0208] F/function.json:1: F has 2 triggers: queueTrigger, queueTrigger",
    );
    refused(
        &[TRIGGER, r#"{"type": "queue", "name": "MSG", "queueName": "abc"}"#],
        "error[E0225] F/function.json:3: two bindings of F are named `MSG`",
    );
    refused(
        &[&TRIGGER.replace("msg", "my-msg")],
        "error[E0229] F/function.json:2: `my-msg` can't be the name of a binding",
    );
    refused(
        &[TRIGGER, r#"{"type": "queue", "queueName": "abc"}"#],
        "error[E0229] F/function.json:3: a binding has no name",
    );
    refused(
        &[
            r#"{"type": "httptriger", "name": "req"}, {"type": "queueTrigger", "name": "m", "queueName": "abc"}"#,
        ],
        "error[E0224] F/function.json:2: the binding type `httptriger` is not known; did you mean `httpTrigger`?",
    );
    refused(
        &[r#"{"type": "queueTriger", "name": "msg", "queueName": "orders"}"#],
        "error[E0224] F/function.json:2: the binding type `queueTriger` is not known; did you mean `queueTrigger`?",
    );
    refused(
        &[TRIGGER, r#"{"type": "sendGrid", "name": "b"}"#],
        "error[E0223] F/function.json:3: the binding type sendGrid is not supported yet",
    );
    refused(&[TRIGGER, r#"{"name": "b"}"#], "error[E0232] F/function.json:3: a binding has no type");
}

#[test]
fn properties_of_bindings_are_checked_one_by_one() {
    let output = |rest: &str| format!("{{\"type\": \"queue\", \"name\": \"out\", {rest}}}");
    refused(
        &[TRIGGER, &output("\"queueName\": 5")],
        "error[E0232] F/function.json:3: queueName is a number instead of a text",
    );
    refused(
        &[TRIGGER, &output("\"connection\": \"\"")],
        "error[E0232] F/function.json:3: a binding of F has no queueName",
    );
    refused(
        &[TRIGGER, &output("\"queueName\": \"a{b\"")],
        "error[E0230] F/function.json:3: queueName: `{` without `}`; write `{{` for the character itself, at character 2",
    );
    refused(
        &[TRIGGER, &output("\"queueName\": \"abc\", \"direction\": \"in\"")],
        "error[E0232] F/function.json:3: direction can't be `in`",
    );
    refused(
        &[TRIGGER, r#"{"type": "blob", "name": "b", "path": "a/b", "direction": "inout"}"#],
        "error[E0232] F/function.json:3: direction can't be `inout`",
    );
    refused(
        &[TRIGGER, &output("\"queueName\": \"abc\", \"dataType\": \"text\"")],
        "error[E0232] F/function.json:3: dataType can't be `text`",
    );
    refused(
        &[TRIGGER, r#"{"type": "cosmosDB", "name": "d", "databaseName": "a", "containerName": "b"}"#],
        "error[E0232] F/function.json:3: a cosmosDB binding needs a direction",
    );
    refused(
        &[TRIGGER, r#"{"type": "cosmosDB", "direction": "in", "name": "d", "databaseName": "a"}"#],
        "error[E0232] F/function.json:3: a binding of F has no containerName",
    );
    refused(
        &[r#"{"type": "httpTrigger", "name": "r", "route": "Admin/x"}"#],
        "error[E0227] F/function.json:2: the route `Admin/x` starts with `Admin`, which belongs to the server",
    );
    refused(
        &[r#"{"type": "httpTrigger", "name": "r", "methods": ["g t"]}"#],
        "error[E0232] F/function.json:2: `G T` is no HTTP method",
    );
}

#[test]
fn queue_names_follow_the_rules_of_azure() {
    let long = "a".repeat(64);
    for name in ["ab", "a--b", "-ab", "ab-", "a_b", "ä12", long.as_str()] {
        let trigger = TRIGGER.replace("orders", name);
        refused(
            &[&trigger],
            &format!("error[E0228] F/function.json:2: `{name}` can't be the name of a queue"),
        );
    }
    check_bindings(&[&TRIGGER.replace("orders", "Orders-2")], &[], &[]);
}

#[test]
fn settings_and_expressions_fill_properties() {
    let output = r#"{"type": "queue", "name": "out", "queueName": "%PREFIX%-{customer.id}-X"}"#;
    let spec = check_bindings(&[TRIGGER, output], &[("prefix", "Shop")], &[]);
    let BindingKind::QueueOutput { queue } = &spec.functions[0].bindings[0].kind else { panic!("{spec:?}") };
    assert_eq!(queue.to_string(), "shop-{customer.id}-x");
    check_bindings(
        &[TRIGGER, output],
        &[("PREFIXES", "x")],
        &[
            "error[E0220] F/function.json:3: queueName needs the app setting PREFIX, which is not set; did you mean `PREFIXES`?",
            "error[E0206]: the only function has an error or is left out",
        ],
    );
    let query = r#"{"type": "cosmosDB", "direction": "in", "name": "d", "databaseName": "shop", "containerName": "%C%", "sqlQuery": "SELECT * FROM c WHERE c.id = {id} AND c.x LIKE '%a b%'"}"#;
    let spec = check_bindings(&[TRIGGER, query], &[("C", "orders")], &[]);
    let BindingKind::DocumentInput(input) = &spec.functions[0].bindings[0].kind else { panic!("{spec:?}") };
    assert_eq!(
        input.sql_query.as_ref().unwrap().to_string(),
        "SELECT * FROM c WHERE c.id = {id} AND c.x LIKE '%a b%'"
    );
}

#[test]
fn connections_without_a_setting_and_misspelled_properties_are_warned_about() {
    let trigger = r#"{"type": "queueTrigger", "name": "msg", "queueName": "orders", "connection": "Shop", "queuName": "x"}"#;
    let misspelled =
        "warning[E0233] F/function.json:2: the property `queuName` has no effect; did you mean `queueName`?";
    check_bindings(
        &[trigger],
        &[],
        &[
            "warning[E0222] F/function.json:2: connection names the setting Shop, which is not set; the embedded store is used",
            misspelled,
        ],
    );
    for setting in ["Shop", "AzureWebJobsShop", "ConnectionStrings:shop"] {
        check_bindings(&[trigger], &[(setting, "embedded")], &[misspelled]);
    }
}

#[test]
fn tables_are_checked_down_to_the_filter() {
    let table =
        |rest: &str| format!("{{\"type\": \"table\", \"name\": \"t\", \"tableName\": \"Notes\", {rest}}}");
    let spec = check_bindings(
        &[
            TRIGGER,
            &table(
                r#""direction": "in", "filter": "Owner eq '{owner}' and At ge datetime'{at}' and N lt {n}", "take": "%TAKE%""#,
            ),
        ],
        &[("TAKE", "5")],
        &[],
    );
    let BindingKind::TableInput(input) = &spec.functions[0].bindings[0].kind else { panic!("{spec:?}") };
    assert_eq!((input.take, input.row_key.is_some()), (Some(5), false));
    check_bindings(&[TRIGGER, &table(r#""direction": "OUT", "partitionKey": "{a}""#)], &[], &[]);
    check_bindings(
        &[TRIGGER, &table(r#""direction": "in", "partitionKey": "{a}", "rowKey": "{b}""#)],
        &[],
        &[],
    );
    refused(
        &[TRIGGER, &table(r#""direction": "in", "filter": "Count = 3""#)],
        "error[E0417] F/function.json:3: filter: at character 7, `=` is no operator; eq, ne, gt, ge, lt and le are",
    );
    refused(
        &[TRIGGER, &table(r#""direction": "in", "rowKey": "1""#)],
        "error[E0232] F/function.json:3: a table input with a rowKey needs a partitionKey too",
    );
    refused(
        &[TRIGGER, &table(r#""direction": "in", "take": 1.5"#)],
        "error[E0232] F/function.json:3: take is 1.5 instead of a whole number",
    );
    refused(
        &[TRIGGER, r#"{"type": "table", "name": "t", "direction": "in", "tableName": "my-notes"}"#],
        "error[E0232] F/function.json:3: `my-notes` can't be the name of a table",
    );
    refused(
        &[TRIGGER, r#"{"type": "table", "name": "t", "tableName": "Notes"}"#],
        "error[E0232] F/function.json:3: a table binding needs a direction: in or out",
    );
}

#[test]
fn a_change_feed_takes_the_names_of_both_versions() {
    let trigger = |rest: &str| {
        format!("{{\"type\": \"cosmosDBTrigger\", \"name\": \"d\", \"databaseName\": \"shop\", {rest}}}")
    };
    let old = trigger(
        r#""collectionName": "orders", "leaseCollectionPrefix": "a", "startFromBeginning": "True", "maxItemsPerInvocation": 7, "leaseCollectionName": "leases", "createLeaseCollectionIfNotExists": true"#,
    );
    let spec = check_bindings(&[&old], &[], &[]);
    let TriggerSpec::Documents(found) = &spec.functions[0].trigger else { panic!("{spec:?}") };
    assert_eq!((found.container.as_str(), found.lease_prefix.as_str()), ("orders", "a"));
    assert_eq!((found.start, found.items_max), (FeedStart::Beginning, Some(7)));
    let new = trigger(
        r#""containerName": "%C%", "leaseContainerPrefix": "b", "cardinality": "MANY", "startFromTime": "2027-01-15T08:00:00Z""#,
    );
    let spec = check_bindings(&[&new], &[("C", "orders")], &[]);
    let TriggerSpec::Documents(found) = &spec.functions[0].trigger else { panic!("{spec:?}") };
    assert_eq!(found.start, FeedStart::Time(from_unix_ms(1_800_000_000_000)));
    refused(
        &[&trigger("\"containerName\": \"c\", \"startFromTime\": \"yesterday\"")],
        "error[E0232] F/function.json:2: startFromTime is `yesterday`, which is no date",
    );
    refused(
        &[&trigger(
            "\"containerName\": \"c\", \"startFromBeginning\": true, \"startFromTime\": \"2027-01-15\"",
        )],
        "error[E0232] F/function.json:2: startFromBeginning and startFromTime can't both be set",
    );
    refused(
        &[&trigger("\"containerName\": \"{c}\"")],
        "error[E0232] F/function.json:2: containerName of a trigger can't hold an expression like `{c}`",
    );
    refused(
        &[&trigger("\"containerName\": \"c\", \"maxItemsPerInvocation\": 0")],
        "error[E0232] F/function.json:2: maxItemsPerInvocation is 0, so no change could ever be handed over",
    );
    refused(
        &[&trigger("\"containerName\": \"c\", \"startFromBeginning\": \"yes\"")],
        "error[E0232] F/function.json:2: startFromBeginning can't be `yes`",
    );
}

#[test]
fn small_triggers_and_properties_that_only_azure_needs() {
    check_bindings(&[r#"{"type": "eventGridTrigger", "name": "event", "direction": "in"}"#], &[], &[]);
    check_bindings(&[r#"{"type": "warmupTrigger", "name": "warm"}"#], &[], &[]);
    check_bindings(
        &[&TRIGGER
            .replace("\"queueName\"", "\"cardinality\": \"many\", \"dataType\": \"binary\", \"queueName\"")],
        &[],
        &[
            "warning[E0233] F/function.json:2: queueTrigger hands over one event at a time, so `many` has no effect",
        ],
    );
    check_bindings(
        &[r#"{"type": "httpTrigger", "name": "req", "webHookType": "github"}"#],
        &[],
        &[
            "warning[E0233] F/function.json:2: webHookType has no effect: the function gets every request as it was sent, also unsigned ones",
        ],
    );
}

/// The names under which a connection is looked for, and what its value means.
#[test]
fn connections_name_an_account_or_the_embedded_store() {
    const KEY: &str = "AccountName=shop;AccountKey=a2V5";
    let trigger =
        |rest: &str| format!(r#"{{"type": "queueTrigger", "name": "msg", "queueName": "orders"{rest}}}"#);
    let of = |trigger: &str, settings: &[(&str, &str)]| {
        let app = check_bindings(&[trigger], settings, &[]);
        let TriggerSpec::Queue(queue) = &app.functions[0].trigger else { panic!("no queue") };
        queue
            .account
            .remote()
            .map(|account| format!("{} {}", account.connection, account.queues.as_deref().unwrap()))
    };
    let shop = |setting: &str| Some(format!("{setting} https://shop.queue.core.windows.net"));
    let named = trigger(r#", "connection": "Shop""#);
    assert_eq!(of(&trigger(""), &[]), None);
    assert_eq!(of(&trigger(""), &[("AzureWebJobsStorage", " ")]), None);
    assert_eq!(of(&trigger(""), &[("AzureWebJobsStorage", KEY)]), shop("AzureWebJobsStorage"));
    for setting in ["Shop", "AzureWebJobsShop", "ConnectionStrings:Shop"] {
        assert_eq!(of(&named, &[(setting, KEY)]), shop(setting));
        assert_eq!(of(&named, &[(setting, "embedded")]), None);
    }
    assert_eq!(of(&named, &[("Shop", "embedded"), ("AzureWebJobsShop", KEY)]), shop("AzureWebJobsShop"));
    assert_eq!(of(&named, &[("Shop", KEY), ("INGLE_STORAGE", "embedded")]), None);

    let check = |settings: &[(&str, &str)], problem: &str| {
        let problems = [problem, "error[E0206]: the only function has an error or is left out"];
        check_bindings(&[&named], settings, &problems);
    };
    check(
        &[("Shop", "AccountName=shop;AccountKey=not Base64")],
        "error[E0241] F/function.json:2: the setting Shop is no connection string: its AccountKey is no Base64",
    );
    check(
        &[("Shop", "BlobEndpoint=https://shop;SharedAccessSignature=sig=x")],
        "error[E0241] F/function.json:2: the setting Shop has no address for queues",
    );
    let by_identity = |settings: &[(&str, &str)]| of(&named, settings);
    assert_eq!(by_identity(&[("Shop__accountName", "shop")]), shop("Shop"));
    assert_eq!(
        by_identity(&[("Shop__queueServiceUri", "https://shop.queue.core.windows.net/")]),
        shop("Shop")
    );
    let managed =
        [("AzureWebJobsShop__serviceUri", "https://q"), ("AzureWebJobsShop__credential", "ManagedIdentity")];
    assert_eq!(by_identity(&managed), Some("AzureWebJobsShop https://q".to_owned()));
    check(
        &[("Shop__accountName", "shop"), ("Shop__credential", "workloadidentity")],
        "error[E0242] F/function.json:2: the connection Shop by identity can't be used: Shop__credential is `workloadidentity`, and only managedidentity is served",
    );
    check(
        &[("Shop__queueServiceUri", "http://shop")],
        "error[E0242] F/function.json:2: the connection Shop by identity can't be used: the address for queues is no https:// address",
    );
    check(
        &[("Shop__blobServiceUri", "https://shop")],
        "error[E0241] F/function.json:2: the setting Shop has no address for queues",
    );
}
