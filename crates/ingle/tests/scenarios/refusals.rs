//! What is refused to an app, or ends its worker, is an event of its own in the log (T-001).

use ingle_testkit::{App, Python, Request, on_each_python};
use serde_json::{Value, json};

on_each_python!(t_001_what_is_refused_is_a_security_event);

const APP: &str = r#"
import signal, socket

@app.route(route="reach")
def reach(req: func.HttpRequest) -> str:
    try:
        socket.create_connection(("169.254.169.254", 80), timeout=5)
    except OSError as error:
        return type(error).__name__

@app.route(route="speak")
def speak(req: func.HttpRequest) -> str:
    for number in range(3, 64):
        try:
            socket.socket(fileno=os.dup(number)).send(b"\xff" * 64)
        except OSError:
            pass
    return "spoke"

@app.route(route="call")
def call(req: func.HttpRequest) -> str:
    os.kill(os.getpid(), signal.SIGSYS)
    time.sleep(60)
"#;

fn t_001_what_is_refused_is_a_security_event(python: &Python) {
    // What is never shown of functions is shown of this.
    let host = json!({"version": "2.0", "logging": {"logLevel": {"default": "None"}}});
    let server = App::python(APP).host(&host).launch(python).may_complain("broke the protocol").start();
    let told = |refused: &str| {
        server.wait_for(&format!("a security event about {refused}"), |event| {
            event["event"] == "security" && event["refused"] == refused
        })
    };
    let call = |name: &str| server.send(Request::post(&format!("/api/{name}"), ""));
    let isolation =
        server.wait_for("ready", |event| event["event"] == "ready")["isolation"]["missing"].clone();
    if !isolation.to_string().contains("own network") {
        assert_eq!(call("reach").status(200).text(), "PermissionError");
        let event = told("network");
        assert!(event["message"].as_str().unwrap().contains("169.254.169.254:80"), "{event}");
        // The box has been asked, not a worker.
        assert_eq!((&event["function"], &event["worker"]), (&Value::Null, &json!("wrk_0")), "{event}");
    }
    assert!(call("speak").status >= 500);
    assert_eq!(told("protocol")["function"], "speak");
    call("call").status(502);
    let event = told("system call");
    assert_eq!(event["function"], "call");
    assert!(event["invocation"].as_str().unwrap().starts_with("inv_"), "{event}");
    server.stop();
}
