//! A queue with `batchSize` 1 and `newBatchThreshold` 0 is worked on strictly in the order in which it was filled.

use ingle_testkit::{App, Python, on_each_python};
use serde_json::{Value, json};

const MESSAGES: usize = 300;

on_each_python!(messages_arrive_in_the_order_sent, a_list_keeps_its_order);

fn app() -> App {
    App::python(
        r#"
@app.route(route="fill", methods=["POST"])
@app.queue_output(arg_name="out", queue_name="numbers", connection="S")
def fill(req: func.HttpRequest, out: func.Out[str]) -> str:
    out.set(req.get_body().decode())
    return "ok"

@app.route(route="fill-many", methods=["POST"])
@app.queue_output(arg_name="out", queue_name="numbers", connection="S")
def fill_many(req: func.HttpRequest, out: func.Out[list]) -> str:
    out.set([str(number) for number in range(int(req.get_body()))])
    return "ok"

at_work = 0

@app.queue_trigger(arg_name="message", queue_name="numbers", connection="S")
def read(message: str) -> None:
    global at_work
    at_work += 1
    # What comes next would overtake this one while it waits, if it were let in.
    time.sleep(0.003 if int(message) % 50 == 0 else 0)
    print("read", message, "beside", at_work - 1)
    at_work -= 1
"#,
    )
    .host(&json!({"version": "2.0", "extensions": {"queues": {"batchSize": 1, "newBatchThreshold": 0}}}))
    .settings(&json!({"S": "embedded"}))
}

fn messages_arrive_in_the_order_sent(python: &Python) {
    let server = app().start(python);
    let mut client = server.client();
    for number in 0..MESSAGES {
        let answer = client.send(ingle_testkit::Request::post("/api/fill", number.to_string()));
        assert_eq!(answer.map(|answer| answer.status), Ok(200));
    }
    assert_order(&server);
}

fn a_list_keeps_its_order(python: &Python) {
    let server = app().start(python);
    server.post("/api/fill-many", MESSAGES.to_string()).status(200);
    let filled = server.invocations("fill_many", 1).remove(0);
    assert_eq!(filled["effects"], json!([format!("queue numbers ×{MESSAGES}")]));
    assert_order(&server);
}

fn assert_order(server: &ingle_testkit::Server) {
    server.invocations("read", MESSAGES);
    let said = |event: &Value| event["event"] == "log" && event["source"] == "stdout";
    let lines = server.wait_for_many(MESSAGES, "messages", said);
    let seen: Vec<&str> = lines.iter().filter_map(|line| line["message"].as_str()).collect();
    let expected: Vec<String> = (0..MESSAGES).map(|number| format!("read {number} beside 0")).collect();
    assert_eq!(seen, expected);
}
