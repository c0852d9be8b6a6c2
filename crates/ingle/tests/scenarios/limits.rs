//! Limits of a worker, in whichever way it came to life.

use ingle_testkit::{App, Python, on_each_python};

on_each_python!(
    memory_is_limited_however_a_worker_comes_to_life,
    t_020_an_app_of_thousands_of_functions_is_served
);

/// T-020: each is served, and none is in the way of the others.
fn t_020_an_app_of_thousands_of_functions_is_served(python: &Python) {
    let functions = r#"
for number in range(3000):
    def answer(req: func.HttpRequest) -> str:
        return req.url.rsplit("n", 1)[1]
    app.function_name(f"f{number}")(app.route(route=f"n{number}")(answer))
"#;
    let server = App::python(functions).start(python);
    for number in [0, 1500, 2999] {
        assert_eq!(server.get(&format!("/api/n{number}")).status(200).text(), number.to_string());
    }
}

const APP: &str = r#"
@app.route(route="bomb")
def bomb(req: func.HttpRequest) -> str:
    kept = []
    while True:
        kept.append(bytearray(4 << 20))
"#;

/// T-013: also without control groups somebody looks.
fn memory_is_limited_however_a_worker_comes_to_life(python: &Python) {
    for fork in ["never", "before-import", "after-import"] {
        let settings = format!("[workers]\nfork = \"{fork}\"\n[sandbox]\nmemory = \"200MB\"\n");
        let server = App::python(APP).file("ingle.toml", &settings).start(python);
        let answer = server.get("/api/bomb");
        assert!(answer.status >= 500 && answer.text().contains("E0314"), "{fork}: {}", answer.text());
        assert_eq!(server.stop().code, Some(0));
    }
}
