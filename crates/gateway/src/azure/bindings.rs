//! A function's bindings in the form of `function.json` (facts 5.1), from what was resolved: settings are filled in, and
//! no connection is named, so nothing secret is shown.

use ingle_types::clock::iso_text;
use ingle_types::expression::Template;
use ingle_types::spec::{BindingKind, BindingSpec, DataType, FeedStart, FunctionSpec, TriggerSpec};
use serde_json::{Value, json};

pub(super) fn describe(function: &FunctionSpec) -> Vec<Value> {
    let mut shown = trigger(&function.trigger);
    shown["name"] = Value::from(function.trigger_parameter.as_str());
    shown["direction"] = Value::from("in");
    std::iter::once(shown).chain(function.bindings.iter().map(binding)).collect()
}

fn trigger(trigger: &TriggerSpec) -> Value {
    match trigger {
        TriggerSpec::Http(http) => {
            let methods: Vec<String> = http.methods.iter().map(|method| method.to_lowercase()).collect();
            let mut shown = json!({"type": "httpTrigger", "authLevel": http.auth_level, "route": http.route});
            if !methods.is_empty() {
                shown["methods"] = Value::from(methods);
            }
            shown
        }
        TriggerSpec::Queue(queue) => {
            with_data_type(json!({"type": "queueTrigger", "queueName": queue.queue}), queue.data_type)
        }
        TriggerSpec::Timer(timer) => json!({"type": "timerTrigger", "schedule": trigger.source(),
            "runOnStartup": timer.run_on_startup, "useMonitor": timer.use_monitor}),
        TriggerSpec::Blob(blob) => {
            with_data_type(json!({"type": "blobTrigger", "path": trigger.source()}), blob.data_type)
        }
        TriggerSpec::Documents(documents) => {
            let mut shown = json!({"type": "cosmosDBTrigger", "databaseName": documents.database,
                "containerName": documents.container, "leaseContainerPrefix": documents.lease_prefix,
                "startFromBeginning": documents.start == FeedStart::Beginning});
            if let FeedStart::Time(time) = documents.start {
                shown["startFromTime"] = Value::from(iso_text(time));
            }
            shown
        }
        TriggerSpec::Handler(_) => json!({"type": "handler"}),
        TriggerSpec::EventGrid => json!({"type": "eventGridTrigger"}),
        TriggerSpec::Warmup => json!({"type": "warmupTrigger"}),
    }
}

fn binding(binding: &BindingSpec) -> Value {
    let mut shown = match &binding.kind {
        BindingKind::HttpOutput => json!({"type": "http"}),
        BindingKind::QueueOutput { queue } => json!({"type": "queue", "queueName": queue.to_string()}),
        BindingKind::DocumentInput(input) => json!({"type": "cosmosDB",
            "databaseName": input.database.to_string(), "containerName": input.container.to_string(),
            "id": text(input.id.as_ref()), "partitionKey": text(input.partition_key.as_ref()),
            "sqlQuery": text(input.sql_query.as_ref())}),
        BindingKind::DocumentOutput(output) => json!({"type": "cosmosDB",
            "databaseName": output.database.to_string(), "containerName": output.container.to_string()}),
        BindingKind::BlobInput { path, .. } | BindingKind::BlobOutput { path } => {
            json!({"type": "blob", "path": path.to_string()})
        }
        BindingKind::TableInput(input) => json!({"type": "table", "tableName": input.table.to_string(),
            "partitionKey": text(input.partition_key.as_ref()), "rowKey": text(input.row_key.as_ref()),
            "filter": text(input.filter.as_ref()), "take": input.take}),
        BindingKind::TableOutput { table, partition_key, row_key } => json!({"type": "table",
            "tableName": table.to_string(), "partitionKey": text(partition_key.as_ref()),
            "rowKey": text(row_key.as_ref())}),
    };
    if let Value::Object(members) = &mut shown {
        members.retain(|_, value| !value.is_null());
    }
    shown["name"] = Value::from(binding.name.as_str());
    shown["direction"] = Value::from(if binding.kind.is_output() { "out" } else { "in" });
    with_data_type(shown, binding.data_type)
}

fn text(template: Option<&Template>) -> Option<String> {
    template.map(ToString::to_string)
}

fn with_data_type(mut shown: Value, data_type: DataType) -> Value {
    match data_type {
        DataType::Undefined => {}
        DataType::String => shown["dataType"] = Value::from("string"),
        DataType::Binary => shown["dataType"] = Value::from("binary"),
    }
    shown
}
