//! Whatever user code says is shown, and for the invocation that said it.

use ingle_testkit::{App, Python, Server, on_each_python};
use serde_json::{Value, json};

on_each_python!(
    lines_belong_to_the_invocation_that_said_them,
    lines_of_threads_belong_to_who_started_them,
    lines_of_neighbours_do_not_mix,
    what_is_said_at_import_is_shown_without_an_invocation,
    nothing_is_dropped,
);

const APP: &str = r#"
import asyncio, warnings, concurrent.futures

print("imported, said print")
logging.warning("imported, said logging")
shared = concurrent.futures.ThreadPoolExecutor(2)

@app.route(route="say")
def say(req: func.HttpRequest) -> str:
    print("by print")
    print("by stderr", file=sys.stderr)
    logging.info("by logging %d", 5)
    logging.getLogger("shop.kitchen").error("by a logger")
    logging.debug("by debug, which is off")
    warnings.warn("by warning")
    os.write(1, b"by descriptor\n")
    print("by half ", end="")
    print("and half")
    return "said"

@app.route(route="threads")
def threads(req: func.HttpRequest) -> str:
    thread = threading.Thread(target=lambda: print("from a thread"))
    thread.start()
    thread.join()
    shared.submit(print, "from an executor").result()
    broken = threading.Thread(target=lambda: 1 / 0, name="breaker")
    broken.start()
    broken.join()
    return "said"

@app.route(route="tasks")
async def tasks(req: func.HttpRequest) -> str:
    async def task():
        print("from a task")
    await asyncio.gather(task())
    await asyncio.get_running_loop().run_in_executor(None, logging.info, "from run_in_executor")
    await asyncio.to_thread(print, "from to_thread")
    return "said"

@app.route(route="number/{number:int}")
def number(req: func.HttpRequest) -> str:
    number = req.route_params["number"]
    for part in range(3):
        shared.submit(print, "part", part, "of", number).result()
    return number

@app.route(route="flood")
def flood(req: func.HttpRequest) -> str:
    for line in range(2000):
        print("line", line)
    print("x" * 100_000 + " long")
    return "said"
"#;

fn start(python: &Python) -> Server {
    App::python(APP).start(python)
}

fn lines_belong_to_the_invocation_that_said_them(python: &Python) {
    let server = start(python);
    server.get("/api/say").status(200);
    let id = server.invocations("say", 1).remove(0)["id"].clone();
    let check = |part: &str, source: &str, level: &str, logger: &str| {
        let line = server.log(part);
        assert_eq!((&line["function"], &line["invocation"]), (&json!("say"), &id), "{line}");
        assert_eq!((&line["source"], &line["level"]), (&json!(source), &json!(level)), "{line}");
        assert_eq!(line["logger"], logger, "{line}");
    };
    check("by print", "stdout", "info", "");
    check("by stderr", "stderr", "warning", "");
    check("by logging 5", "logging", "info", "root");
    check("by a logger", "logging", "error", "shop.kitchen");
    check("by warning", "logging", "warning", "py.warnings");
    check("by half and half", "stdout", "info", "");
    let past_python = server.log("by descriptor");
    assert_eq!(past_python["invocation"], Value::Null, "a descriptor belongs to the whole process");
    let debug = server.stop().events.iter().any(|event| event["message"] == "by debug, which is off");
    assert!(!debug);
}

fn lines_of_threads_belong_to_who_started_them(python: &Python) {
    let server = start(python);
    server.get("/api/threads").status(200);
    server.get("/api/tasks").status(200);
    let said = [
        ("threads", "from a thread"),
        ("threads", "from an executor"),
        ("threads", "Exception in thread breaker"),
        ("tasks", "from a task"),
        ("tasks", "from run_in_executor"),
        ("tasks", "from to_thread"),
    ];
    for (function, part) in said {
        let line = server.log(part);
        let id = server.invocations(function, 1).remove(0)["id"].clone();
        assert_eq!(line["invocation"], id, "{line}");
    }
}

fn lines_of_neighbours_do_not_mix(python: &Python) {
    let server = start(python);
    std::thread::scope(|scope| {
        for number in 0..20 {
            let server = &server;
            scope.spawn(move || server.get(&format!("/api/number/{number}")).status(200));
        }
    });
    let records = server.invocations("number", 20);
    for record in records {
        let number = record["summary"]
            .as_str()
            .and_then(|summary| summary.rsplit('/').next())
            .unwrap_or("?")
            .to_owned();
        let lines = server.wait_for_many(3, "parts", |event| {
            event["event"] == "log" && event["invocation"] == record["id"]
        });
        let said: Vec<&str> = lines.iter().filter_map(|line| line["message"].as_str()).collect();
        assert_eq!(said, [0, 1, 2].map(|part| format!("part {part} of {number}")));
    }
}

fn what_is_said_at_import_is_shown_without_an_invocation(python: &Python) {
    let server = start(python);
    for part in ["imported, said print", "imported, said logging"] {
        let line = server.log(part);
        assert_eq!((&line["invocation"], &line["function"]), (&Value::Null, &Value::Null));
    }
}

fn nothing_is_dropped(python: &Python) {
    let server = start(python);
    server.get("/api/flood").status(200);
    server.log(" long");
    let events = server.stop().events;
    assert!(!events.iter().any(|event| event["event"] == "left_out"));
    let said = events.iter().filter_map(|event| event["message"].as_str()?.strip_prefix("line "));
    let expected: Vec<String> = (0..2000).map(|line| line.to_string()).collect();
    assert_eq!(said.collect::<Vec<_>>(), expected);
}
