//! `ingle ps`: the zygote and the workers of the running server.

use bytes::Bytes;
use http::Method;
use serde_json::Value;

use crate::cli::Place;
use crate::client::Client;
use crate::exit::CommandError;
use crate::printer::{Style, aligned, harmless, write_out};

pub(crate) async fn run(place: &Place, style: Style) -> Result<u8, CommandError> {
    let client = Client::of(place).await?;
    let shown = client.request(Method::GET, "/v1/status", &[], Bytes::new()).await?;
    let text = if style.json { shown.to_string() } else { harmless(&table(&shown)) };
    write_out(&format!("{}\n", text.trim_end()));
    Ok(0)
}

fn table(status: &Value) -> String {
    let header =
        ["process", "id", "pid", "state", "in work", "done", "memory", "of its own"].map(str::to_owned);
    let mut rows = vec![header];
    if status["zygote"].is_object() {
        rows.push(row("zygote", &status["zygote"]));
    }
    for worker in status["workers"].as_array().into_iter().flatten() {
        rows.push(row("worker", worker));
    }
    let is_empty = rows.len() == 1;
    let mut text = aligned(&rows);
    if is_empty {
        text.push_str("no process: the next call makes one\n");
    }
    for trouble in status["degraded"].as_array().into_iter().flatten() {
        let told = |key: &str| trouble[key].as_str().unwrap_or("-");
        text.push_str(&format!("in trouble since {}: {}: {}\n", told("since"), told("what"), told("reason")));
    }
    // A project has none: each of its functions has its own.
    let generation = match &status["generation"] {
        Value::Null => String::new(),
        number => format!(" · generation {number}"),
    };
    format!("{}{generation}\n{text}", status["app"].as_str().unwrap_or("app"))
}

fn row(kind: &str, process: &Value) -> [String; 8] {
    let is_worker = kind == "worker";
    let of_worker = |text: String| if is_worker { text } else { "-".to_owned() };
    [
        kind.to_owned(),
        of_worker(process["id"].as_str().unwrap_or("-").to_owned()),
        process["processId"].to_string(),
        process["phase"].as_str().unwrap_or("-").to_lowercase(),
        of_worker(process["inWork"].to_string()),
        of_worker(process["completed"].to_string()),
        megabytes(&process["memoryBytes"]),
        megabytes(&process["proportionalBytes"]),
    ]
}

fn megabytes(bytes: &Value) -> String {
    // Tenths of a mebibyte in whole numbers: a process's memory fits by far.
    let tenths = bytes.as_u64().unwrap_or(0) * 10 / (1024 * 1024);
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn processes_stand_in_columns() {
        let process = |id: &str, phase: &str, completed| {
            json!({"id": id, "processId": 4121, "phase": phase, "inWork": 0, "completed": completed,
                "memoryBytes": 24_000_000, "proportionalBytes": 1_900_000})
        };
        let status = json!({"app": "orders", "generation": 2, "zygote": process("wrk_0", "Parent", 0),
            "workers": [process("wrk_1", "Ready", 18)]});
        let expected = "\
orders · generation 2
process     id   pid   state  in work  done   memory  of its own
zygote       -  4121  parent        -     -  22.8 MB      1.8 MB
worker   wrk_1  4121   ready        0    18  22.8 MB      1.8 MB
";
        assert_eq!(table(&status), expected);
        let trouble =
            json!({"what": "account Cloud", "reason": "no connection", "since": "2026-10-25T08:00:00Z"});
        let degraded = json!({"workers": [], "degraded": [trouble]});
        assert!(
            table(&degraded)
                .ends_with("in trouble since 2026-10-25T08:00:00Z: account Cloud: no connection\n")
        );
        let empty = json!({"app": "orders", "generation": 1, "workers": [], "zygote": null});
        assert!(table(&empty).ends_with("no process: the next call makes one\n"));
    }
}
