//! Worker extensions: hooks around functions, from the app and from a package.

use ingle_testkit::{App, Python, Server, on_each_python};
use serde_json::json;

on_each_python!(hooks_run_around_functions);

fn hooks_run_around_functions(python: &Python) {
    let server = App::folder("examples/worker-extension").start(python);
    assert_eq!(server.post("/api/order?dish=soup", "").status(201).text(), "one soup");
    let took = server.log("order took ");
    assert_eq!(took["logger"], "azure_functions_worker.extension.Stopwatch", "{took}");
    assert_eq!((&took["function"], &took["level"]), (&json!("order"), &json!("info")));
    server.log("watching order");
    server.log("an order: req");
    server.log("an order: 201");
    // A hook that raises is told of, and the function runs all the same.
    assert_eq!(server.post("/api/order?dish=nothing", "").status(201).text(), "one nothing");
    let failed = server.log("nothing to announce");
    assert_eq!((&failed["function"], &failed["level"]), (&json!("order"), &json!("error")), "{failed}");
}

const OPENCENSUS: &str = r#"
import azure.functions as func
from opencensus.extension.azure.functions import OpenCensusExtension

# Nobody listens there: what can't be sent must not disturb.
OpenCensusExtension.configure(
    connection_string="InstrumentationKey=00000000-0000-0000-0000-000000000001;IngestionEndpoint=http://127.0.0.1:1/")

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

@app.route(route="traced")
def traced(req: func.HttpRequest, context: func.Context) -> str:
    with context.tracer.span("inner") as span:
        return "%s %s" % (span.context_tracer.trace_id, context.trace_context.Traceparent)
"#;

/// The extension of the package `opencensus-extension-azure-functions`, installed from requirements.txt.
#[test]
fn the_opencensus_extension_gives_functions_a_tracer() {
    let app = App::files(&[
        ("function_app.py", OPENCENSUS),
        ("requirements.txt", "azure-functions\nopencensus-extension-azure-functions\n"),
    ]);
    let server: Server = app
        .settings(&json!({"PYTHON_ENABLE_WORKER_EXTENSIONS": "1"}))
        .launch(&Python::any())
        .own_choice_of_python()
        .start();
    for _ in 0..3 {
        let text = server.get("/api/traced").status(200).text();
        let (trace, parent) = text.split_once(' ').unwrap();
        assert!(!trace.is_empty() && parent.contains(trace), "{text}");
    }
    assert_eq!(server.invocations("traced", 3)[2]["outcome"], "success");
}
