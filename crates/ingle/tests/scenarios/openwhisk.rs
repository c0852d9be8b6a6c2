//! Actions of OpenWhisk: a function of a dictionary, and programs that speak JSON, by the rules of web actions.

use ingle_testkit::{App, Python, Request, on_each_python};
use serde_json::json;

on_each_python!(an_action_is_a_web_action);

fn an_action_is_a_web_action(python: &Python) {
    let server = App::folder("examples/openwhisk").start(python);
    let hello = server.get("/?name=Ada").status(200);
    assert_eq!(
        (hello.header("content-type"), hello.text()),
        ("text/html; charset=UTF-8", "<h1>Hello Ada</h1>".to_owned())
    );
    assert_eq!(hello.header("access-control-allow-origin"), "*");
    // The body goes over the query.
    let put = Request::new("PUT", "/shelf/7?name=no")
        .body("{\"name\": \"tea\"}")
        .header("content-type", "application/json");
    let put = server.send(put).status(201);
    assert_eq!((put.header("x-path"), put.all("set-cookie")), ("/shelf/7", vec!["a=1", "b=2"]));
    assert_eq!((put.header("content-type"), put.json()), ("application/json", json!({"put": "tea"})));
    let form = Request::post("/", "name=A%20B").header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(server.send(form).status(200).text(), "<h1>Hello A B</h1>");
    // An error is a response, too.
    assert_eq!(server.get("/?name=nobody").status(404).json(), json!({"message": "nobody is here"}));
    assert!(server.get("/?__ow_method=put").status(400).text().contains("reserved"));
    let wrong = Request::post("/", "no JSON").header("content-type", "application/json");
    server.send(wrong).status(400);
    // As callers know it from OpenWhisk.
    let of_web = "/api/v1/web/guest/default/hello";
    assert_eq!(
        server.get(&format!("{of_web}.json?name=Ada")).status(200).json(),
        json!({"body": "<h1>Hello Ada</h1>"})
    );
    assert_eq!(
        server.get(&format!("{of_web}.text")).status(200).header("content-type"),
        "text/plain; charset=UTF-8"
    );
    server.get(&format!("{of_web}.svg")).status(200);
    let preflight = Request::new("OPTIONS", "/").header("access-control-request-headers", "x-one");
    assert_eq!(server.send(preflight).status(200).header("access-control-allow-headers"), "x-one");
}

/// `[openwhisk]` names what can't be known; results that can't be responses are failures of the app.
#[test]
fn an_action_gets_its_body_as_it_is_if_it_wants_to() {
    let code = "def seen(args):\n    if args['__ow_path'] == '/bad':\n        return 7\n    if args['__ow_path'] == '/late':\n        \
        raise RuntimeError('no soup')\n    if args['__ow_path'] == '/empty':\n        return {}\n    if args['__ow_path'] == '/png':\n        \
        return {'headers': {'Content-Type': 'image/png'}, 'body': 'AP8='}\n    \
        if args['__ow_path'] == '/odd':\n        return {'statusCode': 'many'}\n    return {'body': args}\n";
    let own = "[openwhisk]\nfile = \"action.py\"\nmain = \"seen\"\nraw = true\n";
    let app = App::default().file("action.py", code).file("ingle.toml", own);
    let server = app.start(&Python::any());
    let sent =
        Request::post("/x?a=1&a=2", vec![0_u8, 255]).header("content-type", "image/png").header("X-One", "1");
    let seen = server.send(sent).status(200).json();
    assert_eq!((&seen["__ow_query"], &seen["__ow_body"]), (&json!("a=1&a=2"), &json!("AP8=")));
    assert_eq!((&seen["__ow_method"], &seen["__ow_headers"]["x-one"]), (&json!("post"), &json!("1")));
    assert_eq!(server.get("/png").status(200).body.to_vec(), [0, 255]);
    server.get("/empty").status(204);
    server.get("/odd").status(400);
    assert!(server.get("/bad").status(500).text().contains("the action gave int"));
    assert!(server.get("/late").status(500).text().contains("no soup"));
}

#[test]
fn a_program_reads_json_and_ends_with_json() {
    let program = "#!/bin/sh\nread line\necho working\ncase \"$line\" in\n  *broken*) echo no JSON ;;\n  *failed*) exit 3 ;;\n  \
        *) echo \"{\\\"body\\\": {\\\"length\\\": ${#line}}}\" ;;\nesac\n";
    let own = "[openwhisk]\nfile = \"exec\"\nexec = true\n";
    let app = App::default().file("exec", program).file("ingle.toml", own);
    let server = app.start(&Python::any());
    assert!(server.get("/?name=Ada").status(200).json()["length"].as_u64().unwrap() > 20);
    server.log("working");
    assert!(server.get("/?name=broken").status(500).text().contains("no JSON"));
    assert!(server.get("/?name=failed").status(500).text().contains("exit code 3"));
}

#[test]
fn what_could_be_an_action_is_asked_for() {
    let app = App::default().file("main.py", "def main(event):\n    return {}\n");
    let error = app.launch(&Python::any()).may_complain("").run().code(2).json();
    assert!(error["code"] == "E0103" && error.to_string().contains("[openwhisk]"), "{error}");
    let own = "[openwhisk]\nfile = \"gone.py\"\n";
    let error = app.file("ingle.toml", own).launch(&Python::any()).may_complain("").run().code(1).json();
    assert!(error["code"] == "E0249" && error.to_string().contains("gone.py"), "{error}");
}
