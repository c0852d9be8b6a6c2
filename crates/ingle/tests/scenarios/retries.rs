//! Retry policies: several attempts of one invocation, which know which of them they are.

use ingle_testkit::{App, Python, on_each_python, on_the_pythons_between};
use serde_json::{Value, json};

on_each_python!(the_third_attempt_can_succeed, after_the_last_attempt_the_message_counts_as_tried,);
on_the_pythons_between!(the_third_attempt_can_succeed);

const APP: &str = r#"
@app.queue_trigger(arg_name="message", queue_name="work", connection="S")
@app.queue_output(arg_name="out", queue_name="worked", connection="S")
@app.retry(strategy="fixed_delay", max_retry_count="2", delay_interval="00:00:01")
def work(message: func.QueueMessage, out: func.Out[str], context: func.Context) -> None:
    retry = context.retry_context
    count = retry.retry_count if retry else 0
    text = message.get_body().decode()
    print("attempt", count, "of", text, "delivered", message.dequeue_count)
    out.set("attempt %d" % count)
    if text == "bad" or count < 2:
        raise ValueError("not yet")
"#;

fn app(dequeues: u32) -> App {
    App::python(APP)
        .host(&json!({"version": "2.0", "extensions": {"queues": {"maxDequeueCount": dequeues}}}))
        .settings(&json!({"S": "embedded"}))
}

fn the_third_attempt_can_succeed(python: &Python) {
    let server = app(1).start(python);
    server.send_queue("work", "good");
    for count in 0..3 {
        server.log(&format!("attempt {count} of good delivered 1"));
    }
    server.wait_for("its success", |event| {
        event["event"] == "invocation" && event["function"] == "work" && event["outcome"] == "success"
    });
    let texts: Vec<Value> = server.messages("worked").iter().map(|message| message["text"].clone()).collect();
    assert_eq!(texts, ["attempt 2"], "outputs of failed attempts are not published");
    assert_eq!((server.queue_length("work"), server.queue_length("work-poison")), (0, 0));
}

fn after_the_last_attempt_the_message_counts_as_tried(python: &Python) {
    let server = app(1).start(python);
    server.send_queue("work", "bad");
    for count in 0..3 {
        server.log(&format!("attempt {count} of bad delivered 1"));
    }
    server.wait_for("the message put aside", |event| {
        event["effects"].as_array().is_some_and(|effects| effects.contains(&json!("poison work-poison")))
    });
    assert_eq!(server.messages("work-poison")[0]["text"], "bad");
    assert_eq!((server.queue_length("work"), server.queue_length("worked")), (0, 0));
}
