//! Ctrl-C: work in hand is finished, and whoever is in a hurry presses it twice.

use std::io::Write;
use std::net::TcpStream;
use std::thread;

use ingle_testkit::{App, Python, Request, Server, on_each_python};
use serde_json::json;

on_each_python!(
    a_request_in_work_is_answered_before_the_end,
    a_message_in_work_is_finished_before_the_end,
    a_second_interrupt_ends_everything_at_once,
    idle_connections_do_not_hold_up_the_end,
    a_caller_who_goes_away_stops_nothing,
);

const APP: &str = r#"
@app.route(route="slow/{seconds}")
@app.queue_output(arg_name="out", queue_name="slow", connection="S")
def slow(req: func.HttpRequest, out: func.Out[str]) -> str:
    print("begun")
    time.sleep(float(req.route_params["seconds"]))
    out.set("finished")
    return "finished"

@app.queue_trigger(arg_name="message", queue_name="work", connection="S")
@app.queue_output(arg_name="out", queue_name="worked", connection="S")
def work(message: str, out: func.Out[str]) -> None:
    print("begun")
    time.sleep(1)
    out.set(message)
"#;

fn app() -> App {
    App::python(APP).settings(&json!({"S": "embedded"}))
}

fn wait_for_begin(server: &Server) {
    server.wait_for("begun", |event| event["message"] == "begun");
}

fn a_request_in_work_is_answered_before_the_end(python: &Python) {
    let server = app().start(python);
    let mut client = server.client();
    let call = thread::spawn(move || client.send(Request::get("/api/slow/1")));
    wait_for_begin(&server);
    let ended = server.stop();
    assert_eq!(call.join().unwrap().map(|answer| answer.text()), Ok("finished".to_owned()));
    assert_eq!(ended.code, Some(0));
    assert!(
        ended
            .events
            .iter()
            .any(|event| event["event"] == "invocation" && event["effects"] == json!(["queue slow"]))
    );
    assert_eq!(ended.events.last().map(|event| event["event"].clone()), Some(json!("stopped")));
}

fn a_message_in_work_is_finished_before_the_end(python: &Python) {
    let mut server = app().start(python);
    server.send_queue("work", "a message");
    wait_for_begin(&server);
    server.interrupt();
    assert_eq!(server.wait_for_end().code(), Some(0));
    server.restart();
    assert_eq!(server.queue_length("work"), 0);
    assert_eq!(server.messages("worked").len(), 1);
    assert_eq!(server.stop().code, Some(0));
}

fn a_second_interrupt_ends_everything_at_once(python: &Python) {
    let mut server = app().launch(python).text().start();
    let mut client = server.client();
    let call = thread::spawn(move || client.send(Request::get("/api/slow/9")));
    server.events().wait_for_line("begun");
    server.interrupt();
    server.events().wait_for_line("stopping");
    // Again and again, as people do: the next one may come before the program listens for it.
    let events = server.events().clone();
    let status = events.look_until("the end", || {
        server.interrupt();
        server.try_wait()
    });
    assert_eq!(status.code(), Some(130));
    assert!(call.join().unwrap().is_err(), "there was no time to answer");
    server.restart();
    assert_eq!(server.queue_length("slow"), 0, "what did not finish leaves nothing behind");
}

fn idle_connections_do_not_hold_up_the_end(python: &Python) {
    let server = app().start(python);
    let mut client = server.client();
    assert_eq!(client.send(Request::get("/api/slow/0")).map(|answer| answer.status), Ok(200));
    let _silent = TcpStream::connect(server.address()).unwrap();
    assert_eq!(server.stop().code, Some(0));
    assert!(client.send(Request::get("/api/slow/0")).is_err());
}

/// T-089: a plain function that has begun runs to its end.
fn a_caller_who_goes_away_stops_nothing(python: &Python) {
    let server = app().start(python);
    let mut caller = TcpStream::connect(server.address()).unwrap();
    caller.write_all(b"GET /api/slow/1 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    wait_for_begin(&server);
    drop(caller);
    let record = server.invocations("slow", 1).remove(0);
    let effects = json!(["queue slow", "the client had gone"]);
    assert_eq!((&record["outcome"], &record["effects"]), (&json!("success"), &effects));
    assert_eq!(server.queue_length("slow"), 1);
}
