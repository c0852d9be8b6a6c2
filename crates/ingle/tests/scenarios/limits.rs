//! Limits of a worker, in whichever way it came to life.

use ingle_testkit::{App, Python, on_each_python};

on_each_python!(memory_is_limited_however_a_worker_comes_to_life);

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
