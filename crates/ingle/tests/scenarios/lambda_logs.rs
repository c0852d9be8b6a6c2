//! What a handler for AWS Lambda says: on the console as on AWS, and for programs as for every other function.

use ingle_testkit::{App, Python, Request, on_each_python};
use serde_json::json;

on_each_python!(people_see_lines_as_on_aws, programs_see_both_forms);

const HANDLER: &str = r#"
import logging
logging.warning("imported")
logger = logging.getLogger()
logger.setLevel("DEBUG")

def lambda_handler(event, context):
    logger.debug("deep")
    logging.getLogger("shop").info("order %d", 7)
    print("plain")
    raise ValueError("not today")
"#;

fn app() -> App {
    App::default().file("lambda_function.py", HANDLER)
}

fn people_see_lines_as_on_aws(python: &Python) {
    let server = app().launch(python).text().start();
    server.get("/").status(502);
    let failed = server.events().wait_for_line("GET / 502");
    assert!(failed.contains("app GET / 502"), "{failed}");
    let lines = server.events().lines();
    let one = |part: &str| {
        lines.iter().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}: {lines:#?}"))
    };
    let debug: Vec<&str> = one("deep").trim_start().split('\t').collect();
    assert_eq!((debug[0], debug[3], debug.len()), ("[DEBUG]", "deep", 4));
    assert!(debug[1].len() == 24 && debug[1].ends_with('Z'), "{debug:?}");
    assert_eq!(debug[2].len(), 36, "{debug:?}");
    assert!(one("order 7").contains("[INFO]\t"));
    assert!(one("imported").contains("[WARNING]\t"));
    assert_eq!(one("plain"), "         plain");
    // Our own line says it.
    assert!(lines.iter().all(|line| !line.contains("REPORT RequestId") && !line.contains("START RequestId")));
}

fn programs_see_both_forms(python: &Python) {
    let server =
        app().file("ingle.toml", "[lambda]\nlog_format = \"json\"\nlog_level = \"error\"\n").start(python);
    let request = Request::post("/2015-03-31/functions/app/invocations", "{}");
    let id = server.send(request).status(200).header("x-amzn-requestid").to_owned();
    let line = server.log("order 7");
    assert_eq!(
        (&line["level"], &line["logger"], &line["source"]),
        (&json!("info"), &json!("shop"), &json!("logging"))
    );
    assert_eq!(line["message"], "order 7");
    let text: serde_json::Value = serde_json::from_str(line["text"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&text["level"], &text["message"], &text["requestId"]),
        (&json!("INFO"), &json!("order 7"), &json!(id))
    );
    assert!(text["timestamp"].as_str().is_some_and(|time| time.len() == 20 && time.ends_with('Z')), "{text}");
    let printed = server.log("plain");
    assert_eq!((&printed["source"], printed.get("text")), (&json!("stdout"), None));
    // The level of the log was that while the module was imported.
    assert!(!server.events().all().iter().any(|event| event["message"] == "imported"));
}
