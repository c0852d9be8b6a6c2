//! Timers: each occurrence once, also across the end of the server.

use std::collections::BTreeSet;

use ingle_testkit::{App, Python, Server, on_each_python, on_the_pythons_between};
use serde_json::{Value, json};

on_each_python!(
    a_timer_fires_again_and_again,
    no_occurrence_comes_twice_across_a_kill,
    a_start_can_run_a_timer,
);
on_the_pythons_between!(a_timer_fires_again_and_again);

const EVERY_SECOND: &str = r#"
@app.timer_trigger(arg_name="timer", schedule="* * * * * *")
@app.queue_output(arg_name="out", queue_name="ticks", connection="S")
def tick(timer: func.TimerRequest, out: func.Out[str]) -> None:
    out.set(json.dumps(timer.schedule_status))
"#;

const AT_STARTUP: &str = r#"
@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *", run_on_startup=True)
def tick(timer: func.TimerRequest) -> None:
    print("past due:", timer.past_due)
"#;

fn start(python: &Python, text: &str) -> Server {
    App::python(text).settings(&json!({"S": "embedded"})).start(python)
}

/// What the invocations were told of their schedule, oldest first.
fn ticks(server: &Server) -> Vec<Value> {
    let read = |message: &Value| serde_json::from_str(message["text"].as_str().unwrap()).unwrap();
    server.messages("ticks").iter().map(read).collect()
}

/// The occurrence before the one that ran names it, once there was one.
fn assert_each_once(ticks: &[Value]) {
    let before: Vec<&str> = ticks.iter().skip(1).map(|tick| tick["Last"].as_str().unwrap()).collect();
    let distinct: BTreeSet<&str> = before.iter().copied().collect();
    assert_eq!(distinct.len(), before.len(), "an occurrence came twice: {ticks:#?}");
    assert!(before.is_sorted(), "{ticks:#?}");
}

fn a_timer_fires_again_and_again(python: &Python) {
    let server = start(python, EVERY_SECOND);
    let records = server.invocations("tick", 3);
    assert!(records.iter().all(|record| record["outcome"] == "success"), "{records:#?}");
    assert_eq!(records[0]["summary"], "timer * * * * * *");
    assert_each_once(&ticks(&server));
}

fn no_occurrence_comes_twice_across_a_kill(python: &Python) {
    let mut server = start(python, EVERY_SECOND);
    server.invocations("tick", 2);
    server.kill9();
    server.restart();
    server.invocations("tick", 2);
    let ticks = ticks(&server);
    assert!(ticks.len() >= 4, "{ticks:#?}");
    assert_each_once(&ticks);
}

/// A kill between the function's end and the commit, and one right behind the commit.
#[test]
fn a_kill_around_the_commit_repeats_no_effect() {
    for place in ["before", "after"] {
        let mut server = App::python(EVERY_SECOND)
            .settings(&json!({"S": "embedded"}))
            .launch(&Python::any())
            .fault(&format!("store.commit.{place}@3=abort"))
            .start();
        server.wait_for_end();
        server.restart_with_fault("");
        server.invocations("tick", 2);
        assert_each_once(&ticks(&server));
    }
}

fn a_start_can_run_a_timer(python: &Python) {
    let server = start(python, AT_STARTUP);
    let record = &server.invocations("tick", 1)[0];
    assert_eq!(record["outcome"], "success", "{record}");
    server.log("past due: False");
}
