//! Web frameworks as functions, with the newest versions that fit the Python: the examples, unmodified.

use ingle_testkit::{App, Python, Request, Server};
use serde_json::json;

/// Ingle chooses the Python, and installs the framework into an environment that it keeps.
fn start(example: &str) -> Server {
    App::folder(&format!("examples/{example}")).launch(&Python::any()).own_choice_of_python().start()
}

/// Neither reads nor writes of a body change a byte.
fn bytes() -> Vec<u8> {
    (0..=255).cycle().take(70_000).collect()
}

fn upload(target: &str, field: &str) -> Request {
    let mut body = format!(
        "--edge\r\nContent-Disposition: form-data; name=\"dish\"\r\n\r\nsoup\r\n\
         --edge\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"r.bin\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    )
    .into_bytes();
    body.extend([0, 0xff, b'\r', b'\n']);
    body.extend(b"\r\n--edge--\r\n");
    Request::post(target, body).header("Content-Type", "multipart/form-data; boundary=edge")
}

#[test]
fn a_flask_app_is_served() {
    let server = start("flask-app");
    let page = server.get("/").status(200);
    assert_eq!(
        (page.text().as_str(), page.header("content-type")),
        ("<h1>Café</h1>", "text/html; charset=utf-8")
    );
    let dish = server.send(Request::get("/dishes/Sp%C3%A4tzle?size=S&size=L").header("Cookie", "visits=2"));
    assert_eq!(dish.status(200).json(), json!({"name": "Spätzle", "sizes": ["S", "L"], "visits": "2"}));
    assert!(server.post("/echo", bytes()).status(200).body == bytes());
    let order = server.send(upload("/orders", "receipt")).status(201).json();
    assert_eq!(order, json!({"dish": "soup", "receipt": "00ff0d0a"}));
    let login = server.get("/login").status(302);
    assert_eq!((login.header("location"), login.all("set-cookie").len()), ("/", 2));
    assert!(
        login.all("set-cookie")[0].starts_with("visits=1; ")
            && login.all("set-cookie")[1].contains("httponly")
    );
    assert!(server.get("/nobody").status(404).text().contains("<h1>Not Found</h1>"));
    server.send(Request::new("DELETE", "/login")).status(405);
    // The framework's error page becomes a failed invocation, as in Azure, and the next request is none the worse.
    server.get("/broken").status(500);
    assert_eq!(server.get("/").status(200).text(), "<h1>Café</h1>");
    assert!(server.log("the oven is cold")["message"].as_str().is_some());
}

#[test]
fn a_django_project_is_served() {
    let server = start("django-app");
    let dish = server.get("/dishes/Sp%C3%A4tzle/?size=S&size=L").status(200).json();
    assert_eq!(dish, json!({"name": "Spätzle", "sizes": ["S", "L"], "path": "/dishes/Spätzle/"}));
    let reversed: Vec<u8> = bytes().into_iter().rev().collect();
    assert!(server.post("/orders/", bytes()).status(201).body == reversed);
    let first = server.get("/visits/").status(200);
    assert_eq!((first.json(), first.all("set-cookie").len()), (json!({"visits": 1}), 2));
    let cookie = first.all("set-cookie").into_iter().find(|cookie| cookie.starts_with("sessionid=")).unwrap();
    let cookie = cookie.split(';').next().unwrap();
    let second = server.send(Request::get("/visits/").header("Cookie", cookie)).status(200);
    assert_eq!(second.json(), json!({"visits": 2}));
    assert_eq!(server.get("/dishes/soup").status(301).header("location"), "/dishes/soup/");
    assert!(server.get("/nobody/").status(404).text().contains("Not Found"));
    server.get("/broken/").status(500);
    server.get("/visits/").status(200);
}

#[test]
fn a_fastapi_app_is_served_with_its_lifespan() {
    let server = start("fastapi-app");
    let dish = server.get("/dishes/Sp%C3%A4tzle/mit?size=L").status(200).json();
    assert_eq!((&dish["name"], &dish["size"]), (&json!("Spätzle/mit"), &json!("L")));
    assert_eq!((&dish["kitchen"], &dish["starts"]), (&json!("open"), &json!(["start"])));
    let order = server
        .send(Request::post("/orders", r#"{"dish": "soup"}"#).header("Content-Type", "application/json"));
    assert_eq!(order.status(201).json(), json!({"dish": "soup", "quantity": 1}));
    let refused = server.send(Request::post("/orders", "{}").header("Content-Type", "application/json"));
    assert_eq!(refused.status(422).json()["detail"][0]["loc"], json!(["body", "dish"]));
    let picture = server.send(upload("/pictures", "file")).status(200).json();
    assert_eq!(picture, json!({"name": "r.bin", "content": "00ff0d0a"}));
    let login = server.get("/login").status(200);
    assert_eq!(login.all("set-cookie").len(), 2);
    assert_eq!(server.get("/closed").status(409).json(), json!({"detail": "the kitchen is closed"}));
    assert_eq!(server.get("/nobody").status(404).json(), json!({"detail": "Not Found"}));
    assert!(server.get("/docs").status(200).text().contains("swagger"));
    assert!(server.get("/broken").status(500).text().contains("the oven is cold"));
    assert_eq!(server.get("/dishes/soup").status(200).json()["starts"], json!(["start"]));
    let ended = server.stop();
    let said = |part: &str| ended.events.iter().filter(|event| event["message"] == part).count();
    assert_eq!((said("the kitchen opens"), said("the kitchen closes")), (1, 1));
}

/// The first programming model.
#[test]
fn a_starlette_app_is_served() {
    let server = start("starlette-app");
    let dish = server.get("/dishes/Sp%C3%A4tzle?size=S&size=L").status(200).json();
    assert_eq!(dish, json!({"name": "Spätzle", "sizes": ["S", "L"]}));
    assert!(server.post("/echo", bytes()).status(201).body == bytes());
    let login = server.get("/login").status(200);
    assert_eq!((login.text().as_str(), login.all("set-cookie").len()), ("welcome", 2));
    assert_eq!(server.get("/nobody").status(404).text(), "Not Found");
}

/// What `func.AsgiMiddleware(…).main` and `func.WsgiMiddleware(…).main` are in samples: the entry point itself.
#[test]
fn a_middleware_can_be_the_entry_point() {
    let function = |script: &str| {
        json!({"scriptFile": script, "bindings": [
            {"type": "httpTrigger", "direction": "in", "name": "req", "authLevel": "anonymous", "route": format!("{}/{{*rest}}", &script[..4])},
            {"type": "http", "direction": "out", "name": "$return"}]})
        .to_string()
    };
    let app = App::files(&[
        ("a/function.json", &function("asgi.py")),
        ("a/asgi.py", ASGI),
        ("w/function.json", &function("wsgi.py")),
        ("w/wsgi.py", WSGI),
    ]);
    let server = app.start(&Python::any());
    assert_eq!(server.post("/api/asgi/a%20b?c=d", "body").status(202).text(), "/api/asgi/a b c=d body");
    assert_eq!(server.post("/api/wsgi/a%20b?c=d", "body").status(203).text(), "/api/wsgi/a b c=d body");
}

const ASGI: &str = r#"
import azure.functions as func

async def web(scope, receive, send):
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 202, "headers": [(b"content-type", b"text/plain")]})
    text = "%s %s %s" % (scope["path"], scope["query_string"].decode(), body.decode())
    await send({"type": "http.response.body", "body": text.encode()})

main = func.AsgiMiddleware(web).main
"#;

const WSGI: &str = r#"
import azure.functions as func

def web(environ, start_response):
    start_response("203 Fine", [("Content-Type", "text/plain")])
    body = environ["wsgi.input"].read().decode()
    return [("%s %s %s" % (environ["PATH_INFO"], environ["QUERY_STRING"], body)).encode()]

main = func.WsgiMiddleware(web).main
"#;
