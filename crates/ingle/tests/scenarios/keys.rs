//! Keys: who may call a function, and that no key is ever written down.

use ingle_testkit::{App, Python, Request, on_each_python};

on_each_python!(a_function_wants_a_key_when_keys_are_asked_for, without_auth_nobody_is_asked,);

const APP: &str = r#"
@app.route(route="open")
def open_to_all(req: func.HttpRequest) -> str:
    return "open"

@app.route(route="closed", auth_level=func.AuthLevel.FUNCTION)
def closed(req: func.HttpRequest) -> str:
    print("x-functions-key:", req.headers.get("x-functions-key"), "called at", req.url)
    return "closed"
"#;

fn a_function_wants_a_key_when_keys_are_asked_for(python: &Python) {
    let server = App::python(APP).launch(python).argument("--auth").start();
    assert_eq!(server.get("/api/open").status(200).text(), "open");
    server.get("/api/closed").status(401);
    let made = server.call(&["keys", "create", "--json"]).code(0).json();
    let key = made["value"].as_str().unwrap().to_owned();
    let shown = |key: &str| server.send(Request::get("/api/closed").header("x-functions-key", key));
    assert_eq!(shown(&key).status(200).text(), "closed");
    assert_eq!(server.get(&format!("/api/closed?code={key}")).status(200).text(), "closed");
    shown("wrong").status(401);
    server.get("/admin/functions").status(401);
    server.call(&["keys", "delete"]).code(0);
    shown(&key).status(401);
    let ended = server.stop();
    let printed = [ended.lines, ended.stderr].concat();
    assert!(printed.iter().any(|line| line.contains("called at")), "{printed:#?}");
    assert!(!printed.iter().any(|line| line.contains(&key)), "the key is in the log: {printed:#?}");
}

fn without_auth_nobody_is_asked(python: &Python) {
    let server = App::python(APP).start(python);
    assert_eq!(server.get("/api/closed").status(200).text(), "closed");
}
