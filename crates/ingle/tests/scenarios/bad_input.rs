//! Input that nobody meant well: files in other encodings, names with tricks, floods, messages that are too large or no
//! text. It is reported with its place and a way to mend it, nothing is lost, and nothing is silent.

use std::collections::BTreeSet;
use std::fs;

use ingle_testkit::{App, Python, Request, Server, on_each_python};
use serde_json::json;

on_each_python!(
    files_in_other_encodings_are_named_with_their_line,
    a_comment_in_another_encoding_does_no_harm,
    a_message_of_a_megabyte_arrives_whole_and_one_beyond_the_limit_is_refused,
    a_message_that_is_no_text_is_not_lost,
);

const HELLO: &str = r#"
@app.route(route="hello")
def hello(req: func.HttpRequest) -> str:
    return "hello"
"#;

/// UTF-16 with its mark, as some editors and shells write it.
fn wide(text: &str) -> Vec<u8> {
    [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

/// One byte for each character.
fn latin(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect()
}

fn files_in_other_encodings_are_named_with_their_line(python: &Python) {
    let check = |app: &App, path: &str, bytes: &[u8], expected: &[&str]| {
        let launch = app.launch(python);
        fs::write(launch.folder().join(path), bytes).unwrap();
        let done = launch.check().code(1);
        let problem = done.json()["problems"][0].to_string();
        for part in expected {
            assert!(problem.contains(part), "{path}: {problem} lacks {part}");
        }
    };
    let new = App::python(HELLO);
    let host = "{\"version\": \"2.0\",\n\"functions\": [\"café\"]}";
    check(&new, "host.json", &wide(host), &["E0112", "\"line\":1", "UTF-16", "save the file as UTF-8"]);
    check(&new, "host.json", &latin(host), &["E0112", "\"line\":2", "0xE9", "save the file as UTF-8"]);
    let settings = "{\"Values\": {\n\n\"CITY\": \"Zürich\"}}";
    check(&new, "local.settings.json", &latin(settings), &["local.settings.json", "\"line\":3", "0xFC"]);
    check(&new, "local.settings.json", &wide(settings), &["local.settings.json", "UTF-16"]);
    check(&new, "requirements.txt", &wide("azure-functions\n"), &["requirements.txt", "UTF-16"]);
    let code = new.text("function_app.py") + "NAME = 'café'\n";
    check(&new, "function_app.py", &wide(&code), &["E0202", "function_app.py", "UTF-16", "as UTF-8"]);
    check(&new, "function_app.py", &latin(&code), &["E0202", "function_app.py", "coding: latin-1"]);
    let old = App::files(&[("F/__init__.py", "def main(req):\n    return 'x'\n"), ("F/function.json", "{}")]);
    let declared = "{\"bindings\": [\n{\"type\": \"httpTrigger\", \"name\": \"req\", \"route\": \"café\"}]}";
    check(&old, "F/function.json", &wide(declared), &["F/function.json", "UTF-16"]);
    check(&old, "F/function.json", &latin(declared), &["F/function.json", "\"line\":2", "0xE9"]);
}

/// A byte order mark does no harm anywhere.
#[test]
fn a_byte_order_mark_is_read_over() {
    let mark = "\u{feff}";
    let app = App::python(HELLO).settings(&json!({"NAME": "x"}));
    let app = app.clone().file("function_app.py", &(mark.to_owned() + &app.text("function_app.py")));
    let app = app.clone().file("host.json", &(mark.to_owned() + &app.text("host.json")));
    let app = app.clone().file("local.settings.json", &(mark.to_owned() + &app.text("local.settings.json")));
    let app = app.file("requirements.txt", &format!("{mark}azure-functions\n"));
    assert_eq!(app.start(&Python::any()).get("/api/hello").status(200).text(), "hello");
}

const BLOBS: &str = r#"
@app.blob_trigger(arg_name="source", path="inbox/{name}", connection="S")
def seen(source: func.InputStream) -> None:
    print("saw", source.name)

@app.route(route="write")
@app.blob_output(arg_name="out", path="inbox/{name}", connection="S")
def write(req: func.HttpRequest, out: func.Out[str]) -> str:
    out.set("text")
    return "written"
"#;

fn blobs() -> Server {
    App::python(BLOBS).settings(&json!({"S": "embedded"})).start(&Python::any())
}

/// Every file below a folder.
fn files(folder: &std::path::Path) -> BTreeSet<std::path::PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { [entry.path()].into() })
        .collect()
}

/// Names that would be paths for somebody who opens files by them. A blob's name is text: each is kept as it is, under
/// its own name, and nothing is written outside of the store.
const TRICKS: [&str; 14] = [
    "../../escape.txt",
    "/etc/passwd",
    "a/../../b",
    "%2e%2e/%2e%2e/escape",
    "..%2fescape",
    "..\\..\\escape.txt",
    "C:\\Windows\\win.ini",
    "\\\\server\\share",
    "trailing.",
    "dots...",
    ".",
    "..",
    "CON",
    "a//b///c",
];

#[test]
fn names_with_path_tricks_are_only_names() {
    let server = blobs();
    let home = server.folder().join("..");
    let is_outside = |path: &std::path::PathBuf| !path.starts_with(home.join("state"));
    let before: BTreeSet<_> = files(&home).into_iter().filter(is_outside).collect();
    for (number, name) in TRICKS.iter().enumerate() {
        let (path, content) = (format!("inbox/{name}"), format!("content {number}"));
        server.call(&["put", "blob", &path, &content]).code(0);
        assert_eq!(server.call(&["get", "blob", &path]).code(0).stdout, content, "{name}");
    }
    for name in TRICKS {
        server.log(&format!("saw inbox/{name}"));
    }
    let after: BTreeSet<_> = files(&home).into_iter().filter(is_outside).collect();
    assert_eq!(before, after, "a blob became a file outside of the store");
    // The same through an output, whose name comes from a caller.
    let body = json!({"name": "../../escape.txt"}).to_string();
    server.post("/api/write", body).status(200);
    assert_eq!(server.call(&["get", "blob", "inbox/../../escape.txt"]).code(0).stdout, "text");
    assert!(!home.join("escape.txt").exists() && !home.join("../escape.txt").exists());
}

#[test]
fn names_that_no_blob_can_have_are_refused_with_the_rule() {
    let server = blobs();
    let long = "x".repeat(1025);
    for (name, rule) in [("a\nb", "control"), ("tab\t", "control"), (long.as_str(), "1024"), ("", "empty")] {
        let done = server.call(&["put", "blob", &format!("inbox/{name}"), "x"]);
        assert!(
            done.code != Some(0) && done.stderr.contains("E0420") && done.stderr.contains(rule),
            "{name:?}: {done:?}"
        );
        let answer = server.post("/api/write", json!({"name": name}).to_string()).status(500).text();
        assert!(answer.contains("E0420") || answer.contains("E0305"), "{name:?}: {answer}");
    }
    let zero = server.post("/api/write", json!({"name": "a\0b"}).to_string()).status(500).text();
    assert!(zero.contains("control"), "{zero}");
    let listed = server.call(&["ls", "blob", "inbox", "--json"]).code(0).json();
    assert_eq!(listed["blobs"], json!([]));
}

const MANY: usize = 10_000;

/// 10,000 blobs at once: each runs its function once, and the memory of the server stays small.
#[test]
fn ten_thousand_blobs_at_once_are_each_worked_on_once() {
    let server = blobs();
    std::thread::scope(|scope| {
        for part in 0..8 {
            let mut client = server.admin_client();
            scope.spawn(move || {
                for number in (part..MANY).step_by(8) {
                    let target = format!("/v1/blobs?path=inbox/many/{number:05}");
                    let put = Request::new("PUT", &target).body(format!("content {number}"));
                    client.send(put).unwrap().status(200);
                }
            });
        }
    });
    let runs = server.invocations("seen", MANY);
    assert!(runs.iter().all(|run| run["outcome"] == "success"));
    let status = fs::read_to_string(format!("/proc/{}/status", server.process_id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kib < 400_000, "the server needed {peak_kib} KiB at its peak");
    let ended = server.stop();
    let saw = ended.events.iter().filter_map(|event| event["message"].as_str()?.strip_prefix("saw "));
    let (all, distinct): (Vec<&str>, BTreeSet<&str>) = (saw.clone().collect(), saw.collect());
    assert_eq!((all.len(), distinct.len()), (MANY, MANY), "a blob was missed, or came twice");
}

const MESSAGES: &str = r#"
@app.queue_trigger(arg_name="msg", queue_name="texts", connection="S")
def text(msg: str) -> None:
    print("text of", len(msg), msg[:4], msg[-4:])

@app.queue_trigger(arg_name="msg", queue_name="messages", connection="S")
def message(msg: func.QueueMessage) -> None:
    print("message of", len(msg.get_body()), msg.get_body()[:4].hex())

@app.queue_trigger(arg_name="msg", queue_name="raw", connection="S", data_type="binary")
def raw(msg: bytes) -> None:
    print("bytes of", len(msg), msg[:4].hex())
"#;

fn messages(python: &Python) -> Server {
    App::python(MESSAGES).settings(&json!({"S": "embedded"})).start(python)
}

/// A file with these bytes becomes a message.
fn send(server: &Server, queue: &str, bytes: &[u8]) -> ingle_testkit::Done {
    let file = server.folder().join("../message");
    fs::write(&file, bytes).unwrap();
    server.call(&["send", "queue", queue, &format!("@{}", file.display())])
}

fn a_message_of_a_megabyte_arrives_whole_and_one_beyond_the_limit_is_refused(python: &Python) {
    let server = messages(python);
    let large = format!("head{}tail", "x".repeat(1024 * 1024 - 8));
    send(&server, "texts", large.as_bytes()).code(0);
    server.log("text of 1048576 head tail");
    send(&server, "messages", large.as_bytes()).code(0);
    server.log("message of 1048576 68656164");
    let refused = send(&server, "texts", &vec![b'x'; 100 * 1024 * 1024 + 1]);
    assert!(
        refused.code != Some(0) && refused.stderr.contains("100 MiB"),
        "the limit is not named: {refused:?}"
    );
    assert_eq!(server.queue_length("texts"), 0);
}

/// Python itself runs such a file.
fn a_comment_in_another_encoding_does_no_harm(python: &Python) {
    let app = App::python(HELLO);
    let launch = app.launch(python);
    fs::write(launch.folder().join("function_app.py"), latin(&(app.text("function_app.py") + "# café\n")))
        .unwrap();
    assert_eq!(launch.start().get("/api/hello").status(200).text(), "hello");
}

fn a_message_that_is_no_text_is_not_lost(python: &Python) {
    let server = messages(python);
    let bytes = [0xFF, 0xFE, 0x00, 0x80, 0x41];
    send(&server, "raw", &bytes).code(0);
    server.log("bytes of 5 fffe0080");
    send(&server, "messages", &bytes).code(0);
    server.log("message of 5 fffe0080");
    // A function that wants text can't have it: it fails, is tried again, and the message is put aside as it came.
    send(&server, "texts", &bytes).code(0);
    let runs = server.invocations("text", 5);
    let told = runs.iter().all(|run| run["failure"]["message"].as_str().unwrap().contains("no UTF-8 text"));
    assert!(told, "{runs:#?}");
    let aside = || Some(server.messages("texts-poison")).filter(|aside| aside.len() == 1);
    let aside = server.events().look_until("the message that is put aside", aside);
    assert_eq!(aside[0]["bytes"], json!({"size": 5, "base64": "//4AgEE="}), "{aside:#?}");
}
