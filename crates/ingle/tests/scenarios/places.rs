//! What code for AWS Lambda finds where it is there: its own files in `/var/task`, and what its layers have in `/opt`.

use ingle_testkit::{App, Python, on_each_python};
use serde_json::json;

on_each_python!(code_and_layers_are_where_they_are_on_aws);

const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Resources:
  Tools:
    Type: AWS::Serverless::LayerVersion
    Properties: {ContentUri: tools/}
  Words:
    Type: AWS::Serverless::LayerVersion
    Properties: {ContentUri: words/}
  Show:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: show/
      Handler: app.handler
      Layers: [!Ref Tools, !Ref Words]
      FunctionUrlConfig: {AuthType: NONE}
"#;

const SHOW: &str = r#"
import json, os, subprocess
import first, second

def content(path):
    with open(path) as file:
        return file.read()

def attempt(path):
    try:
        with open(path, "w"):
            return "written"
    except OSError as error:
        return error.strerror

def handler(event, context):
    shared = "/opt/shared.txt"
    return {
        "code": content("/var/task/data/words.txt"), "own": os.path.samefile("/var/task", os.environ["LAMBDA_TASK_ROOT"]),
        "shared": content(shared), "of tools": content("/opt/data/tools.txt"), "of words": content("/opt/data/words.txt"),
        "modules": [first.WORD, second.WORD],
        "tool": subprocess.run(["say"], capture_output=True, text=True).stdout,
        "there": subprocess.run(["/opt/bin/say"], capture_output=True, text=True).stdout,
        "writing": [attempt("/var/task/x"), attempt("/opt/x"), attempt(shared)],
        "libraries": [os.path.basename(os.path.dirname(path)) for path in os.environ["LD_LIBRARY_PATH"].split(":")],
    }
"#;

fn code_and_layers_are_where_they_are_on_aws(python: &Python) {
    let app = App::default()
        .file("template.yaml", TEMPLATE)
        .file("show/app.py", SHOW)
        .file("show/data/words.txt", "of the function")
        .file("tools/bin/say", "#!/bin/sh\nprintf said\n")
        .file("tools/lib/none.txt", "")
        .file("tools/data/tools.txt", "of the tools")
        .file("tools/shared.txt", "hidden")
        .file("tools/python/first.py", "WORD = 'first'\n")
        .file("words/data/words.txt", "of the words")
        .file("words/shared.txt", "of the last")
        .file("words/python/first.py", "WORD = 'over the first'\n")
        .file("words/python/second.py", "WORD = 'second'\n")
        .read_only();
    let server = app.start(python);
    let expected = json!({
        "code": "of the function", "own": true, "shared": "of the last", "of tools": "of the tools",
        "of words": "of the words", "modules": ["over the first", "second"], "tool": "said", "there": "said",
        "writing": ["Read-only file system", "Read-only file system", "Read-only file system"],
        "libraries": ["tools"],
    });
    assert_eq!(server.get_of("show", "/").status(200).json(), expected);
}
