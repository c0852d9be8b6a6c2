//! Contents that fit into nobody's memory go through files.

use ingle_testkit::{App, Python, Server, on_each_python};
use serde_json::json;

on_each_python!(large_contents_need_little_memory, an_output_that_fails_leaves_no_file,);

const MEGABYTE: usize = 1024 * 1024;
const SIZE: usize = 256 * MEGABYTE;

const APP: &str = r#"
import hashlib, io

class Zeros(io.RawIOBase):
    "A file-like object that makes its content as it is read."
    def __init__(self, size):
        self.left = size
    def read(self, size=-1):
        size = self.left if size < 0 else min(size, self.left)
        self.left -= size
        return bytes(size)

@app.route(route="make/{size:int}")
@app.blob_output(arg_name="out", path="large/made", connection="AzureWebJobsStorage")
def make(req: func.HttpRequest, out: func.Out[func.InputStream]) -> str:
    out.set(Zeros(int(req.route_params["size"])))
    return "made"

@app.blob_trigger(arg_name="found", path="large/{name}", connection="AzureWebJobsStorage")
@app.blob_output(arg_name="out", path="copies/{name}", connection="AzureWebJobsStorage")
def copy(found: func.InputStream, out: func.Out[func.InputStream]) -> None:
    assert found.length > 0, found.length
    out.set(found)

@app.route(route="digest")
@app.blob_input(arg_name="found", path="copies/made", connection="AzureWebJobsStorage")
def digest(req: func.HttpRequest, found: func.InputStream) -> str:
    length, digest = 0, hashlib.sha256()
    while piece := found.read(65536):
        length += len(piece)
        digest.update(piece)
    return "%d %s" % (length, digest.hexdigest())

@app.route(route="fail")
@app.blob_output(arg_name="out", path="large/{nobody}", connection="AzureWebJobsStorage")
def fail(req: func.HttpRequest, out: func.Out[bytes]) -> str:
    out.set(b"x" * 5_000_000)
    return "never"

@app.route(route="whole")
@app.blob_input(arg_name="content", path="copies/made", connection="AzureWebJobsStorage")
@app.blob_input(arg_name="text", path="copies/made", connection="AzureWebJobsStorage", data_type="string")
def whole(req: func.HttpRequest, content: bytes, text: str) -> str:
    return "%s %d %s %d" % (type(content).__name__, len(content), type(text).__name__, len(text))
"#;

/// The most memory that a process has had, in bytes (`VmHWM`, proc(5)).
fn memory_peak(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

fn spooled(server: &Server) -> usize {
    std::fs::read_dir(server.state_folder().join("store/spool")).unwrap().count()
}

/// P-22: an output, a trigger's stream, a copy of it, and an input: never in memory as a whole.
fn large_contents_need_little_memory(python: &Python) {
    let server = App::python(APP).start(python);
    // Once around, so that what is loaded on first use is loaded.
    server.get(&format!("/api/make/{}", 2 * MEGABYTE)).status(200);
    server.invocations("copy", 1);
    assert!(server.get("/api/digest").status(200).text().starts_with(&format!("{} ", 2 * MEGABYTE)));
    let text = server.get("/api/whole").status(200).text();
    assert_eq!(text, format!("bytes {0} str {0}", 2 * MEGABYTE));
    let processes: Vec<u32> = [server.process_id()].into_iter().chain(server.workers()).collect();
    let before: Vec<usize> = processes.iter().copied().map(memory_peak).collect();
    server.get(&format!("/api/make/{SIZE}")).status(200);
    assert_eq!(server.invocations("copy", 2)[1]["outcome"], json!("success"));
    // SHA-256 of 256 MiB of zeros.
    let expected = format!("{SIZE} a6d72ac7690f53be6ae46ba88506bd97302a093f7108472bd9efc3cefda06484");
    assert_eq!(server.get("/api/digest").status(200).text(), expected);
    for (process, before) in processes.into_iter().zip(before) {
        let after = memory_peak(process);
        assert!(after < before + 30 * MEGABYTE, "memory grew from {before} to {after} bytes");
    }
    assert_eq!(spooled(&server), 0);
}

fn an_output_that_fails_leaves_no_file(python: &Python) {
    let server = App::python(APP).start(python);
    server.get("/api/fail").status(500);
    assert_eq!(server.invocations("fail", 1)[0]["failure"]["code"], json!("E0307"));
    assert_eq!(spooled(&server), 0);
}
