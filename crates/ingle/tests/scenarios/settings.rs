//! What `host.json` and app settings change, seen from outside.

use std::fs;

use ingle_testkit::{App, Python, Server, on_each_python};
use serde_json::{Value, json};

on_each_python!(
    requests_beyond_the_limit_are_refused_at_once_and_the_others_wait,
    one_request_at_a_time_means_one,
    headers_of_the_host_are_on_every_answer,
    a_blob_is_tried_as_often_as_host_json_says,
    one_blob_at_a_time_means_one,
    the_home_page_can_be_turned_off,
    a_function_can_be_turned_off_by_a_setting_and_run_by_hand,
);

fn host(extensions: &Value) -> Value {
    json!({"version": "2.0", "extensions": extensions})
}

/// How many were in the function at once.
const COUNTED: &str = r#"
lock = threading.Lock()
counts = {"inside": 0, "most": 0}

def work():
    with lock:
        counts["inside"] += 1
        counts["most"] = max(counts["most"], counts["inside"])
    time.sleep(0.05)
    with lock:
        counts["inside"] -= 1

@app.route(route="work")
def over_http(req: func.HttpRequest) -> str:
    work()
    return "done"

@app.blob_trigger(arg_name="source", path="inbox/{name}", connection="S")
def of_blobs(source: func.InputStream) -> None:
    work()

@app.route(route="most")
def most(req: func.HttpRequest) -> str:
    return str(counts["most"])
"#;

fn one_request_at_a_time_means_one(python: &Python) {
    let app = App::python(COUNTED).settings(&json!({"S": "embedded"}));
    let server = app.host(&host(&json!({"http": {"maxConcurrentRequests": 1}}))).start(python);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| server.get("/api/work").status(200));
        }
    });
    assert_eq!(server.get("/api/most").text(), "1");
}

fn one_blob_at_a_time_means_one(python: &Python) {
    let app = App::python(COUNTED).settings(&json!({"S": "embedded"}));
    let server = app.host(&host(&json!({"blobs": {"maxDegreeOfParallelism": 1}}))).start(python);
    std::thread::scope(|scope| {
        for number in 0..6 {
            let path = format!("inbox/{number}");
            let server = &server;
            scope.spawn(move || server.call(&["put", "blob", &path, "x"]).code(0));
        }
    });
    server.invocations("of_blobs", 6);
    assert_eq!(server.get("/api/most").text(), "1");
}

/// Waits until the story opens the gate.
const GATE: &str = r#"
gate = os.path.join(os.path.dirname(os.path.abspath(__file__)), "open.txt")

@app.route(route="wait")
def wait(req: func.HttpRequest) -> str:
    print("inside")
    while not os.path.exists(gate):
        time.sleep(0.005)
    return "through"
"#;

fn requests_beyond_the_limit_are_refused_at_once_and_the_others_wait(python: &Python) {
    let limits = json!({"http": {"maxOutstandingRequests": 3, "maxConcurrentRequests": 2}});
    let server = App::python(GATE).host(&host(&limits)).start(python);
    let inside =
        |count| server.wait_for_many(count, "functions at the gate", |event| event["message"] == "inside");
    std::thread::scope(|scope| {
        let mut waiting: Vec<_> = (0..2).map(|_| scope.spawn(|| server.get("/api/wait"))).collect();
        inside(2);
        // The third takes the last place, and waits for one of the two. Nothing tells from outside when it has it, so
        // whoever is refused asks again as a client would; at least one of both must be refused while both ask.
        let (sender, refused) = std::sync::mpsc::channel();
        for _ in 0..2 {
            let (server, sender) = (&server, sender.clone());
            waiting.push(scope.spawn(move || {
                loop {
                    let answer = server.get("/api/wait");
                    if answer.status != 429 {
                        return answer;
                    }
                    assert_eq!(answer.header("retry-after"), "1");
                    assert!(answer.text().contains("E0308"), "{}", answer.text());
                    sender.send(()).ok();
                }
            }));
        }
        refused.recv().unwrap();
        fs::write(server.folder().join("open.txt"), "").unwrap();
        for answer in waiting {
            assert_eq!(answer.join().unwrap().status(200).text(), "through");
        }
    });
}

fn headers_of_the_host_are_on_every_answer(python: &Python) {
    let headers = json!({"http": {"customHeaders": {"X-Frame-Options": "DENY", "X-Own": "a, b"}}});
    let server = App::python(COUNTED).settings(&json!({"S": "embedded"})).host(&host(&headers)).start(python);
    for answer in [server.get("/api/most").status(200), server.get("/api/nowhere").status(404)] {
        assert_eq!((answer.header("x-frame-options"), answer.header("x-own")), ("DENY", "a, b"));
    }
}

const BAD: &str = r#"
@app.blob_trigger(arg_name="source", path="inbox/{name}", connection="S")
def never(source: func.InputStream) -> None:
    raise ValueError("I can't read it")
"#;

fn a_blob_is_tried_as_often_as_host_json_says(python: &Python) {
    let app = App::python(BAD).settings(&json!({"S": "embedded"}));
    let server = app.host(&host(&json!({"blobs": {"poisonBlobThreshold": 2}}))).start(python);
    server.call(&["put", "blob", "inbox/b.txt", "bad"]).code(0);
    let aside = || Some(server.messages("webjobs-blobtrigger-poison")).filter(|aside| aside.len() == 1);
    server.events().look_until("the blob that is put aside", aside);
    let ended = server.stop();
    let runs =
        ended.events.iter().filter(|event| event["event"] == "invocation" && event["function"] == "never");
    assert_eq!(runs.count(), 2);
}

fn the_home_page_can_be_turned_off(python: &Python) {
    let app = App::python(GATE);
    let page = app.start(python).get("/").status(200);
    assert!(page.header("content-type").starts_with("text/html"), "{}", page.header("content-type"));
    let server = app.settings(&json!({"AzureWebJobsDisableHomepage": "true"})).start(python);
    assert_eq!(server.get("/").status(204).text(), "");
}

const SWITCHED: &str = r#"
@app.route(route="left")
def left(req: func.HttpRequest) -> str:
    return "left"

@app.route(route="right")
def right(req: func.HttpRequest) -> str:
    print("right ran")
    return "right"
"#;

fn a_function_can_be_turned_off_by_a_setting_and_run_by_hand(python: &Python) {
    let server: Server =
        App::python(SWITCHED).settings(&json!({"AzureWebJobs.right.Disabled": "1"})).start(python);
    assert_eq!(server.get("/api/left").status(200).text(), "left");
    server.get("/api/right").status(404);
    let by_hand = ingle_testkit::Request::post("/admin/functions/right", r#"{"input": ""}"#)
        .header("content-type", "application/json");
    server.send(by_hand).status(202);
    server.log("right ran");
}
