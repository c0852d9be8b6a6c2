//! Web apps without a handler: what they are taken for, what they see of a request, and what callers get.

use ingle_testkit::{App, Python, Request, Server, on_each_python};
use serde_json::json;

on_each_python!(a_plain_wsgi_app_is_served, a_plain_asgi_app_is_served, what_is_named_is_looked_at);

/// A folder with nothing of Azure in it.
fn app(files: &[(&str, &str)]) -> App {
    files.iter().fold(App::default(), |app, (name, text)| app.file(name, text))
}

/// Waits for an invocation that failed with this message.
fn failed(server: &Server, part: &str) {
    let is_it = |event: &serde_json::Value| {
        event["failure"]["message"].as_str().is_some_and(|text| text.contains(part))
    };
    server.wait_for(part, is_it);
}

/// Ingle chooses the Python, and installs the framework into an environment that it keeps.
fn start(app: &App) -> Server {
    app.launch(&Python::any()).own_choice_of_python().start()
}

fn bytes() -> Vec<u8> {
    (0..=255).cycle().take(700_000).collect()
}

fn why(server: &Server) -> String {
    server.ready()["why"].as_str().unwrap().to_owned()
}

#[test]
fn a_flask_app_is_hosted() {
    let server = start(&app(&[("app.py", FLASK), ("requirements.txt", "flask>=3\n")]));
    let seen = server.send(
        Request::get("/show/Sp%C3%A4tzle/a%2Fb?size=S&size=L%20M")
            .header("Cookie", "a=1")
            .header("Cookie", "b=2")
            .header("X-Kitchen", "one")
            .header("X-Kitchen", "two"),
    );
    let seen = seen.status(200).json();
    let expected = json!({
        "dish": "Spätzle/a/b", "query": "size=S&size=L%20M", "sizes": ["S", "L M"], "cookies": {"a": "1", "b": "2"},
        "kitchen": "one,two", "client": "127.0.0.1", "method": "GET", "root": "",
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&seen[name], value, "{name} in {seen}");
    }
    assert_eq!(seen["url"], json!("http://localhost/show/Sp%C3%A4tzle/a%2Fb?size=S&size=L%20M"));
    assert!(server.post("/echo", bytes()).status(201).body == bytes());
    let login = server.get("/login").status(302);
    assert_eq!((login.header("location"), login.all("set-cookie").len()), ("/", 2));
    // The framework's own pages, also where Azure's host has doors of its own.
    assert!(server.get("/admin/host/status").status(404).text().contains("<h1>Not Found</h1>"));
    assert!(server.get("/").status(404).text().contains("<h1>Not Found</h1>"));
    server.get("/50%").status(404);
    server.send(Request::new("DELETE", "/login")).status(405);
    assert!(server.get("/broken").status(500).text().contains("Internal Server Error"));
    server.log("the oven is cold");
    assert_eq!(server.send(Request::new("HEAD", "/login")).status(302).body.len(), 0);
}

const FLASK: &str = r#"
from flask import Flask, jsonify, redirect, request

app = Flask(__name__)

@app.get("/show/<path:dish>")
def show(dish):
    return jsonify(dish=dish, query=request.query_string.decode(), sizes=request.args.getlist("size"),
                   cookies=dict(request.cookies), kitchen=request.headers["X-Kitchen"], client=request.remote_addr,
                   method=request.method, root=request.root_path, url=request.environ["wsgi.url_scheme"] + "://" +
                   request.host + request.environ["REQUEST_URI"])

@app.post("/echo")
def echo():
    return request.get_data(), 201, {"Content-Type": "application/octet-stream"}

@app.get("/login")
def login():
    answer = redirect("/")
    answer.set_cookie("a", "1")
    answer.set_cookie("b", "2", httponly=True)
    return answer

@app.get("/broken")
def broken():
    raise RuntimeError("the oven is cold")
"#;

#[test]
fn a_django_project_is_hosted() {
    let files = [
        ("manage.py", ""),
        ("requirements.txt", "django>=4.2\n"),
        ("shop/__init__.py", ""),
        ("shop/settings.py", SETTINGS),
        ("shop/urls.py", URLS),
        ("shop/wsgi.py", &asgi("wsgi")),
        ("shop/asgi.py", &asgi("asgi")),
    ];
    let server = start(&app(&files));
    check_django(&server, "WSGIRequest");
    drop(server);
    let named = app(&files).launch(&Python::any()).own_choice_of_python();
    check_django(&named.argument("--handler").argument("shop.asgi.application").start(), "ASGIRequest");
}

fn check_django(server: &Server, kind: &str) {
    let seen = server.get("/dishes/Sp%C3%A4tzle/?size=S&size=L").status(200).json();
    let expected = json!({
        "name": "Spätzle", "sizes": ["S", "L"], "path": "/dishes/Spätzle/", "client": "127.0.0.1", "kind": kind,
        "absolute": "http://localhost/dishes/Sp%C3%A4tzle/?size=S&size=L",
    });
    assert_eq!(seen, expected);
    let reversed: Vec<u8> = bytes().into_iter().rev().collect();
    assert!(server.post("/orders/", bytes()).status(201).body == reversed);
    let cookies = server.get("/cookies/").status(200);
    assert_eq!(cookies.all("set-cookie").len(), 2);
    assert_eq!(server.get("/dishes/soup").status(301).header("location"), "/dishes/soup/");
    server.get("/nobody/").status(404);
}

fn asgi(kind: &str) -> String {
    format!(
        "import os\nfrom django.core.{kind} import get_{kind}_application\n\
         os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\napplication = get_{kind}_application()\n"
    )
}

const SETTINGS: &str = r#"
SECRET_KEY = "for tests"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "shop.urls"
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
DATA_UPLOAD_MAX_MEMORY_SIZE = None
"#;

const URLS: &str = r#"
from django.http import HttpResponse, JsonResponse
from django.urls import path

def dish(request, name):
    return JsonResponse({"name": name, "sizes": request.GET.getlist("size"), "path": request.path,
                         "client": request.META["REMOTE_ADDR"], "kind": type(request).__name__,
                         "absolute": request.build_absolute_uri()})

def orders(request):
    return HttpResponse(request.body[::-1], status=201, content_type="application/octet-stream")

def cookies(request):
    answer = HttpResponse("")
    answer.set_cookie("a", "1")
    answer.set_cookie("b", "2")
    return answer

urlpatterns = [path("dishes/<str:name>/", dish), path("orders/", orders), path("cookies/", cookies)]
"#;

#[test]
fn a_fastapi_app_is_hosted() {
    let app = App::folder("examples/web-app");
    let server = start(&app);
    assert_eq!(why(&server), "main.py with a FastAPI app (ASGI)");
    assert_eq!(server.get("/dishes/soup").status(200).json(), json!({"name": "soup", "price": 4}));
    assert_eq!(server.get("/dishes/stone").status(404).json(), json!({"detail": "no such dish"}));
    let order = |body: &'static str| {
        server.send(Request::post("/orders", body).header("Content-Type", "application/json"))
    };
    assert_eq!(order(r#"{"dish": "soup", "quantity": 2}"#).status(201).json(), json!({"total": 8}));
    assert_eq!(order("{}").status(422).json()["detail"][0]["loc"], json!(["body", "dish"]));
    // An exception is a page of the framework, and in the log.
    assert_eq!(order(r#"{"dish": "stone"}"#).status(500).text(), "Internal Server Error");
    server.log("KeyError after the response");
    assert_eq!(server.get("/countdown?seconds=0").status(200).text(), "ready\n");
    assert!(server.get("/docs").status(200).text().contains("swagger"));
    let ended = server.stop();
    let said = |part: &str| ended.events.iter().filter(|event| event["message"] == part).count();
    assert_eq!((said("the kitchen opens"), said("the kitchen closes")), (1, 1));
}

#[test]
fn a_starlette_app_is_hosted() {
    let server = start(&app(&[("asgi.py", STARLETTE), ("requirements.txt", "starlette\n")]));
    let seen = server.send(Request::get("/dishes/Sp%C3%A4tzle?size=S&size=L").header("Cookie", "a=1"));
    let expected = json!({
        "name": "Spätzle", "sizes": ["S", "L"], "client": "127.0.0.1", "cookies": {"a": "1"},
        // Starlette makes it of the decoded path.
        "url": "http://localhost/dishes/Spätzle?size=S&size=L",
    });
    assert_eq!(seen.status(200).json(), expected);
    assert!(server.post("/echo", bytes()).status(201).body == bytes());
    assert_eq!(server.get("/cookies").status(200).all("set-cookie").len(), 2);
    assert_eq!(server.get("/nobody").status(404).text(), "Not Found");
}

const STARLETTE: &str = r#"
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

async def dish(request):
    return JSONResponse({"name": request.path_params["name"], "sizes": request.query_params.getlist("size"),
                         "client": request.client.host, "cookies": request.cookies, "url": str(request.url)})

async def echo(request):
    return Response(await request.body(), 201)

async def cookies(request):
    answer = Response("")
    answer.set_cookie("a", "1")
    answer.set_cookie("b", "2")
    return answer

application = Starlette(routes=[Route("/dishes/{name}", dish), Route("/echo", echo, methods=["POST"]),
                                Route("/cookies", cookies)])
"#;

/// Sends as many requests at once, and gives the texts of their answers.
fn at_once(server: &Server, target: &str, count: usize) -> Vec<String> {
    std::thread::scope(|scope| {
        let sent: Vec<_> =
            (0..count).map(|_| scope.spawn(|| server.get(target).status(200).text())).collect();
        sent.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

fn named(files: &[(&str, &str)], handler: &str, python: &Python) -> ingle_testkit::Launch {
    app(files).launch(python).argument("--handler").argument(handler)
}

fn a_plain_wsgi_app_is_served(python: &Python) {
    let server = named(&[("src/site.py", WSGI)], "src.site.web", python).start();
    // Nobody could see before the import that this is no handler of Lambda; nothing of Lambda is left.
    assert_eq!(why(&server), "src.site.web, named by --handler: a web app");
    let seen = server
        .send(Request::get("/a%20b/%E4/%C3%A4?c=%20d").header("x_kitchen", "forged"))
        .status(200)
        .json();
    let expected = json!({
        "PATH_INFO": "/a b/\u{e4}/\u{c3}\u{a4}", "QUERY_STRING": "c=%20d", "SCRIPT_NAME": "", "REQUEST_METHOD": "GET",
        "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1", "aws": [],
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&seen[name], value, "{name} in {seen}");
    }
    assert_eq!(seen.get("HTTP_X_KITCHEN"), None);
    // They wait for each other, so all are in work at once, in one process.
    let met = at_once(&server, "/meet", 3);
    assert!(met[0].parse::<u32>().is_ok() && met.iter().all(|process| *process == met[0]), "{met:?}");
    assert_eq!(server.get("/written").status(203).text(), "first second");
    server.log("closed");
    assert_eq!(server.get("/replaced").status(500).text(), "sorry");
    server.get("/silent").status(500);
    failed(&server, "without having called start_response");
}

const WSGI: &str = r#"
import json, os, sys, threading

together = threading.Barrier(3)

class Pieces(list):
    def close(self):
        print("closed")

def web(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/silent":
        return []
    if path == "/replaced":
        start_response("200 OK", [])
        try:
            raise KeyError("late")
        except KeyError:
            start_response("500 Broken", [("Content-Type", "text/plain")], sys.exc_info())
        return [b"sorry"]
    if path == "/written":
        write = start_response("203 Fine", [("Content-Type", "text/plain")])
        write(b"first ")
        return Pieces([b"second"])
    start_response("200 OK", [("Content-Type", "application/json")])
    if path == "/meet":
        together.wait(30)
        return [str(os.getpid()).encode()]
    found = {name: value for name, value in environ.items() if name.isupper()}
    found["aws"] = [name for name in os.environ if name.startswith("AWS_")]
    return [json.dumps(found).encode()]
"#;

fn a_plain_asgi_app_is_served(python: &Python) {
    let server = named(&[("site_of_ours.py", ASGI)], "site_of_ours.web", python).start();
    // Their first requests come together, and the lifespan begins once.
    let met = at_once(&server, "/meet", 3);
    assert!(met.iter().all(|process| *process == met[0]), "{met:?}");
    let seen =
        server.send(Request::get("/a%20b/%C3%A4?c=%20d").header("x-kitchen", "one")).status(200).json();
    let expected = json!({
        "type": "http", "path": "/a b/ä", "raw_path": "/a%20b/%C3%A4", "query_string": "c=%20d", "root_path": "",
        "method": "GET", "scheme": "http", "http_version": "1.1", "client": ["127.0.0.1", 0], "state": {"starts": 1},
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&seen[name], value, "{name} in {seen}");
    }
    assert!(seen["headers"].as_array().unwrap().contains(&json!(["x-kitchen", "one"])), "{seen}");
    assert!(server.post("/echo", bytes()).status(200).body == bytes());
    // A failure before the response is a failed invocation, one after it is a line in the log.
    server.get("/broken").status(500);
    failed(&server, "the oven is cold");
    assert_eq!(server.get("/late").status(200).text(), "late");
    server.log("RuntimeError after the response: too late");
    server.get("/silent").status(500);
    failed(&server, "returned without a response");
    let by_hand = server.invoke("app", "");
    assert!(by_hand.to_string().contains("/"), "{by_hand}");
    let ended = server.stop();
    assert_eq!(ended.events.iter().filter(|event| event["message"] == "the kitchen closes").count(), 1);
}

const ASGI: &str = r#"
import asyncio, json, os

waiting = []

def readable(value):
    if isinstance(value, bytes):
        return value.decode()
    return [readable(one) for one in value] if isinstance(value, (list, tuple)) else value

async def web(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        scope["state"]["starts"] = scope["state"].get("starts", 0) + 1
        await asyncio.sleep(0)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("the kitchen closes")
        await send({"type": "lifespan.shutdown.complete"})
        return
    path = scope["path"]
    if path == "/broken":
        raise RuntimeError("the oven is cold")
    if path == "/silent":
        return
    if path == "/meet":
        # The third lets the others go on: all are in work at once.
        waiting.append(asyncio.get_running_loop().create_future())
        if len(waiting) == 3:
            for one in waiting:
                one.set_result(None)
        await asyncio.wait_for(waiting[min(len(waiting), 3) - 1], 30)
        body = str(os.getpid()).encode()
    elif path == "/echo":
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
    elif path == "/late":
        body = b"late"
    else:
        body = json.dumps({name: readable(value) for name, value in scope.items()}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})
    if path == "/late":
        raise RuntimeError("too late")
"#;

/// What a name stands for is decided by what it is.
fn what_is_named_is_looked_at(python: &Python) {
    let check = |text: &str, code: &str, line: u64, part: &str| {
        let done = app(&[("app.py", text)]).launch(python).check();
        let told = done.code(1).json();
        let problems = told["problems"].as_array().unwrap();
        let found = problems.iter().find(|problem| problem["code"] == code);
        let found = found.unwrap_or_else(|| panic!("no {code} in {told}"));
        assert_eq!((&found["file"], &found["line"]), (&json!("app.py"), &json!(line)), "{found}");
        assert!(found["message"].as_str().unwrap().contains(part), "{found}");
    };
    let maker = "def Flask(what):\n    return what\n\n";
    check(
        &format!("{maker}app = Flask(lambda: 1)\n"),
        "E0244",
        4,
        "app is neither a WSGI app nor an ASGI app: it is a function",
    );
    check(&format!("{maker}app = Flask(lambda event, context: 1)\n"), "E0244", 4, "it is a function");
    check(&format!("{maker}app = Flask(int)\n"), "E0244", 4, "it is the class int");
    // What takes an event and a context is a handler, also if it is an object.
    let adapter = "class Adapter:\n    def __call__(self, event, context):\n        return event['rawPath']\nweb = Adapter()\n";
    let server = named(&[("app.py", adapter)], "app.web", python).start();
    assert_eq!(server.get("/a/b").status(200).text(), "/a/b");
    assert_eq!(why(&server), "app.web, named by --handler");
}

#[test]
fn what_is_nearly_a_web_app_is_explained() {
    let done = app(&[("app.py", "app = create_app()\n")]).launch(&Python::any()).check();
    let told = done.stdout + &done.stderr;
    assert!(told.contains("say --handler app.app"), "{told}");
}
