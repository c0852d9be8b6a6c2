//! Limits of a worker, in whichever way it came to life.

use ingle_testkit::{App, Python, Request, on_each_python};

on_each_python!(
    memory_is_limited_however_a_worker_comes_to_life,
    t_013_who_ran_when_memory_ended_is_told,
    t_014_what_programs_print_is_cut,
    t_020_an_app_of_thousands_of_functions_is_served
);

/// T-013: the caller of each is told of the other, and how sure it is whose fault it was.
fn t_013_who_ran_when_memory_ended_is_told(python: &Python) {
    let functions = r#"
@app.route(route="wait")
def wait(req: func.HttpRequest) -> str:
    logging.info("waiting")
    time.sleep(600)
@app.route(route="bomb")
def bomb(req: func.HttpRequest) -> str:
    kept = []
    while True:
        kept.append(bytearray(4 << 20))
"#;
    let settings = "[workers]\nmax = 1\n[sandbox]\nmemory = \"200MB\"\n";
    let server = App::python(functions).file("ingle.toml", settings).start(python);
    // What may have been another's victim is run once more if its method is safe.
    let call = |path: &str| server.send(Request::post(path, ""));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| call("/api/wait"));
        server.log("waiting");
        let bomb = call("/api/bomb");
        let waiting = waiting.join().unwrap();
        for (answer, other) in [(&bomb, "since wait ("), (&waiting, "since bomb (")] {
            let text = answer.text();
            assert!(answer.status >= 500 && text.contains("E0314"), "{text}");
            assert!(text.contains("2 invocations ran in it") && text.contains(other), "{text}");
            assert!(text.contains("this one began it grew by about"), "{text}");
        }
    });
}

/// T-014: also what the programs say that a function starts has an end, and that something is missing is said.
fn t_014_what_programs_print_is_cut(python: &Python) {
    let functions = r#"
@app.route(route="flood")
def flood(req: func.HttpRequest) -> str:
    subprocess.run(["/bin/sh", "-c", "i=0; while [ $i -lt 2000 ]; do echo line $i of a program that is not short; i=$((i+1)); done"])
    return "said"
@app.route(route="word")
def word(req: func.HttpRequest) -> str:
    subprocess.run(["/bin/echo", "heard again"])
    return "said"
"#;
    let settings = "[workers]\nmax = 1\n[sandbox]\nlog = \"16KB\"\n";
    let app = App::python(&format!("import subprocess\n{functions}")).file("ingle.toml", settings);
    let server = app.start(python);
    server.get("/api/flood").status(200);
    server.log("line 0 of a program");
    let cut = server.log("the output of programs and C libraries in this worker ends here");
    assert!(cut["message"].as_str().unwrap().contains("more than 16 KB"), "{cut}");
    server.get("/api/word").status(200);
    server.log("lines with");
    server.log("heard again");
    let lines = server.stop().events;
    let shown = lines.iter().filter(|event| {
        event["message"].as_str().is_some_and(|message| message.contains("of a program that is not short"))
    });
    assert!((200..600).contains(&shown.count()));
}

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
