//! What HTTP functions get and what their callers get back.

use bytes::Bytes;
use ingle_testkit::{App, Python, Request, Server, on_each_python};
use serde_json::{Value, json};

on_each_python!(
    methods_and_routes_find_their_function,
    headers_query_and_parameters_arrive,
    cookies_go_out_one_by_one,
    forms_and_files_arrive,
    bytes_come_back_as_they_were,
    a_body_of_a_hundred_megabytes_arrives_and_a_larger_one_does_not,
    a_chunked_body_arrives,
    head_options_and_nothing,
    pages_from_elsewhere_need_permission,
    a_response_that_http_can_not_carry_is_a_logged_502,
    a_connection_serves_many_requests,
);

const APP: &str = r#"
def answer(value, **more):
    return func.HttpResponse(json.dumps(value), mimetype="application/json", **more)

@app.route(route="only-get", methods=["GET"])
def only_get(req: func.HttpRequest) -> str:
    return "got"

@app.route(route="only-get", methods=["PUT"])
def only_put(req: func.HttpRequest) -> str:
    return "put"

@app.route(route="items/{id:int}", methods=["GET"])
def by_number(req: func.HttpRequest) -> func.HttpResponse:
    return answer(["number", req.route_params["id"]])

@app.route(route="items/{name:alpha:maxlength(5)}", methods=["GET"])
def by_word(req: func.HttpRequest) -> func.HttpResponse:
    return answer(["word", req.route_params["name"]])

@app.route(route="files/{*path}", methods=["GET"])
def files(req: func.HttpRequest) -> func.HttpResponse:
    return answer(req.route_params.get("path"))

@app.route(route="pages/{number:int?}", methods=["GET"])
def pages(req: func.HttpRequest) -> func.HttpResponse:
    return answer(dict(req.route_params))

@app.route(route="mirror")
async def mirror(req: func.HttpRequest) -> func.HttpResponse:
    return answer({"method": req.method, "url": req.url, "headers": dict(req.headers), "params": dict(req.params),
                   "length": len(req.get_body())})

@app.route(route="cookies")
def cookies(req: func.HttpRequest) -> func.HttpResponse:
    response = answer(req.headers.get("cookie"))
    response.headers.add("Set-Cookie", "first=1; Path=/")
    response.headers.add("Set-Cookie", "second=2; Max-Age=60; HttpOnly")
    response.headers["X-Told"] = "twice"
    return response

@app.route(route="form", methods=["POST"])
def form(req: func.HttpRequest) -> func.HttpResponse:
    files = {name: [file.filename, file.read().hex()] for name, file in req.files.items()}
    return answer({"form": {name: req.form[name] for name in req.form}, "files": files})

@app.route(route="echo", methods=["POST"])
def echo(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(req.get_body(), mimetype="application/octet-stream")

@app.route(route="length", methods=["POST"])
def length(req: func.HttpRequest) -> str:
    return str(len(req.get_body()))

@app.route(route="nothing")
def nothing(req: func.HttpRequest) -> func.HttpResponse:
    return None

@app.route(route="head", methods=["HEAD", "GET"])
def head(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("twelve bytes", headers={"X-Seen": req.method})

@app.route(route="options", methods=["OPTIONS"])
def options(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(status_code=204, headers={"Allow": "GET, PATCH"})

@app.route(route="status/{code:int}")
def status(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("body", status_code=int(req.route_params["code"]))

@app.route(route="bad-header/{kind}")
def bad_header(req: func.HttpRequest) -> func.HttpResponse:
    name, value = {"line": ("X-Bad", "a\r\nX-Forged: 1"), "nul": ("X-Bad", "a\0b"), "name": ("X Bad", "a")}[req.route_params["kind"]]
    response = func.HttpResponse("never")
    response.headers._list.append((name, value))
    return response
"#;

fn server(python: &Python) -> Server {
    App::python(APP).start(python)
}

fn methods_and_routes_find_their_function(python: &Python) {
    let server = server(python);
    assert_eq!(server.get("/api/only-get").status(200).text(), "got");
    assert_eq!(server.send(Request::new("PUT", "/api/Only-Get/")).status(200).text(), "put");
    let refused = server.send(Request::new("DELETE", "/api/only-get")).status(405);
    let mut allowed: Vec<&str> = refused.header("allow").split(", ").collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "PUT"]);
    let check =
        |path: &str, expected: Value| assert_eq!(server.get(path).status(200).json(), expected, "{path}");
    check("/api/items/42", json!(["number", "42"]));
    check("/api/items/bread", json!(["word", "bread"]));
    check("/api/files/2024/menu.pdf", json!("2024/menu.pdf"));
    check("/api/files", Value::Null);
    check("/api/pages", json!({}));
    check("/api/pages/3", json!({"number": "3"}));
    for path in [
        "/api/items/breads",
        "/api/items/4x",
        "/api/nobody",
        "/only-get",
        "/api/pages/three",
        "/api//items/1",
    ] {
        let text = server.get(path).status(404).text();
        assert!(text.contains("E0501"), "{path}: {text}");
    }
    assert!(server.get("/").status(200).text().contains("Ingle"));
}

fn headers_query_and_parameters_arrive(python: &Python) {
    let server = server(python);
    let request = Request::new("PATCH", "/api/mirror?name=J%C3%BCrgen+K&two=1&two=2&empty=")
        .header("X-One", "a")
        .header("x-one", "b")
        .header("User-Agent", "a test")
        .body("12345");
    let seen = server.send(request).status(200).json();
    assert_eq!((&seen["method"], &seen["length"]), (&json!("PATCH"), &json!(5)));
    assert_eq!(seen["params"], json!({"name": "Jürgen K", "two": "1,2", "empty": ""}));
    assert_eq!(seen["headers"]["x-one"].as_str().map(|text| text.replace(' ', "")), Some("a,b".to_owned()));
    assert_eq!(seen["headers"]["user-agent"], "a test");
    assert_eq!(seen["url"], "http://localhost/api/mirror?name=J%C3%BCrgen+K&two=1&two=2&empty=");
}

fn cookies_go_out_one_by_one(python: &Python) {
    let answer =
        server(python).send(Request::get("/api/cookies").header("Cookie", "a=1").header("Cookie", "b=2"));
    let answer = answer.status(200);
    assert_eq!(answer.json(), "a=1; b=2");
    assert_eq!(answer.all("set-cookie"), ["first=1; path=/", "second=2; max-age=60; httponly"]);
    assert_eq!(answer.header("x-told"), "twice");
}

fn forms_and_files_arrive(python: &Python) {
    let server = server(python);
    let fields = Request::post("/api/form", "dish=soup+%26+bread&quantity=2")
        .header("Content-Type", "application/x-www-form-urlencoded");
    let seen = server.send(fields).status(200).json();
    assert_eq!(seen, json!({"form": {"dish": "soup & bread", "quantity": "2"}, "files": {}}));
    let mut body = b"--edge\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nA picture\r\n\
        --edge\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"p.png\"\r\nContent-Type: image/png\r\n\r\n"
        .to_vec();
    body.extend([0x89, b'P', 0, 0xff, b'\r', b'\n', b'-', b'-']);
    body.extend(b"\r\n--edge--\r\n");
    let parts = Request::post("/api/form", body).header("Content-Type", "multipart/form-data; boundary=edge");
    let seen = server.send(parts).status(200).json();
    assert_eq!(seen["form"]["title"], "A picture");
    assert_eq!(seen["files"], json!({"photo": ["p.png", "895000ff0d0a2d2d"]}));
}

fn bytes_come_back_as_they_were(python: &Python) {
    let server = server(python);
    let all: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    for body in [Vec::new(), vec![0], b"\r\n\r\n".to_vec(), all] {
        let answer = server.post("/api/echo", body.clone()).status(200);
        assert_eq!(answer.header("content-type"), "application/octet-stream");
        assert_eq!(answer.header("content-length"), body.len().to_string());
        assert!(answer.body == body, "{} bytes came back as {} other ones", body.len(), answer.body.len());
    }
}

/// T-035: the limit is kept before the function runs.
fn a_body_of_a_hundred_megabytes_arrives_and_a_larger_one_does_not(python: &Python) {
    const MEGABYTE: usize = 1024 * 1024;
    let server = server(python);
    let large = Bytes::from(vec![b'x'; 101 * MEGABYTE]);
    let whole = large.slice(..100 * MEGABYTE);
    assert_eq!(server.post("/api/length", whole).status(200).text(), (100 * MEGABYTE).to_string());
    let mut head = format!("POST /api/length HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", large.len())
        .into_bytes();
    let answer = server.raw(&head);
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("E0503"), "{answer}");
    // The same without a stated length: refused as soon as it is too much.
    head = b"POST /api/length HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    head.extend(format!("{:x}\r\n", large.len()).into_bytes());
    head.extend_from_slice(&large);
    head.extend(b"\r\n0\r\n\r\n");
    let answer = server.raw(&head);
    // A connection that is closed while bytes are on their way may be reset before the answer is read.
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(server.post("/api/length", "12345").status(200).text(), "5");
    server.invocations("length", 2);
    let ended = server.stop();
    let runs =
        ended.events.iter().filter(|event| event["event"] == "invocation" && event["function"] == "length");
    assert_eq!(runs.count(), 2, "a refused body must not reach the function");
}

fn a_chunked_body_arrives(python: &Python) {
    let server = server(python);
    let answer = server.send(Request::new("POST", "/api/echo").chunks(&["one ", "two ", "three"]));
    assert_eq!(answer.status(200).text(), "one two three");
    let answer = server.raw(
        "POST /api/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
         3;extension=1\r\none\r\nA\r\n 1234567 9\r\n0\r\nX-Trailer: 1\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("one 1234567 9"), "{answer}");
}

fn head_options_and_nothing(python: &Python) {
    let server = server(python);
    let head = server.send(Request::new("HEAD", "/api/head")).status(200);
    assert_eq!((head.header("x-seen"), head.header("content-length"), head.body.len()), ("HEAD", "12", 0));
    let options = server.send(Request::new("OPTIONS", "/api/options")).status(204);
    assert_eq!(options.header("allow"), "GET, PATCH");
    let nothing = server.get("/api/nothing").status(204);
    assert!(nothing.body.is_empty());
    for code in [200, 201, 404, 418, 500, 599] {
        assert_eq!(server.get(&format!("/api/status/{code}")).status(code).text(), "body");
    }
    for code in [204, 304] {
        assert!(server.get(&format!("/api/status/{code}")).status(code).body.is_empty());
    }
    for code in [99, 100, 101, 199, 600, 1000] {
        assert!(server.get(&format!("/api/status/{code}")).status(502).text().contains("E0504"), "{code}");
    }
}

fn pages_from_elsewhere_need_permission(python: &Python) {
    let server = App::python(APP).launch(python).argument("--cors").argument("https://shop.example").start();
    let ask = |origin: &str| {
        let request = Request::new("OPTIONS", "/api/only-get").header("Origin", origin);
        server.send(
            request
                .header("Access-Control-Request-Method", "PUT")
                .header("Access-Control-Request-Headers", "x-a"),
        )
    };
    let allowed = ask("https://shop.example").status(204);
    assert_eq!(allowed.header("access-control-allow-origin"), "https://shop.example");
    assert_eq!(allowed.header("access-control-allow-methods"), "PUT");
    assert_eq!(allowed.header("access-control-allow-headers"), "x-a");
    assert_eq!(ask("https://evil.example").status(403).header("access-control-allow-origin"), "");
    let from = |origin: &str| server.send(Request::get("/api/only-get").header("Origin", origin)).status(200);
    assert_eq!(from("https://shop.example").header("access-control-allow-origin"), "https://shop.example");
    assert_eq!(from("https://evil.example").header("access-control-allow-origin"), "");
}

/// T-046: user code can't split a response.
fn a_response_that_http_can_not_carry_is_a_logged_502(python: &Python) {
    let server = server(python);
    for (count, kind) in ["line", "nul", "name"].into_iter().enumerate() {
        let answer = server.get(&format!("/api/bad-header/{kind}")).status(502);
        assert!(answer.text().contains("E0504"), "{}", answer.text());
        assert_eq!(answer.header("x-forged"), "");
        let record = server.invocations("bad_header", count + 1).remove(count);
        assert_eq!((&record["status"], &record["failure"]["code"]), (&json!(502), &json!("E0504")));
        assert_eq!(record["failure"]["blame"], "app");
    }
}

fn a_connection_serves_many_requests(python: &Python) {
    let server = server(python);
    let mut client = server.client();
    for number in 0..200 {
        let answer = client.send(Request::post("/api/echo", format!("number {number}")));
        assert_eq!(answer.map(|answer| answer.text()), Ok(format!("number {number}")));
    }
    // Two requests in one packet are answered in order.
    let answer = server.raw(
        "GET /api/only-get HTTP/1.1\r\nHost: x\r\n\r\nPUT /api/only-get HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    let (got, put) = (answer.find("\r\n\r\ngot"), answer.find("\r\n\r\nput"));
    assert!(got.is_some() && got < put, "{answer}");
}
