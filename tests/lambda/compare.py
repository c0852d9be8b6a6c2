"""Calls a handler in AWS's own runtime and in Ingle, through AWS's own client, and prints each difference as a line of JSON.

Usage: python compare.py ENDPOINT FUNCTION FOLDER FORMAT

`awslambdaric` runs the handler of the folder against a small Runtime API of this script; boto3 invokes the function at the endpoint.
Results and logs are compared. FORMAT is that of the log, as AWS_LAMBDA_LOG_FORMAT has it. Numbers of requests, times and what names
the machine are left out of the comparison.
"""

import base64
import json
import os
import queue
import re
import subprocess
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
from botocore.config import Config

EVENTS = [{"do": name} for name in (
    "context", "cause", "deep", "nothing", "key", "empty", "numbers", "shapes", "bytes", "set", "date", "object", "keys",
    "syntax", "say", "say more", "say in own form")]
EVENTS += [{}, [], None, 1, 1.5, "text", "é", {"nested": {"list": [1, None, True]}}, {"key": "Grüße \U0001f40d"}]
CLIENT_CONTEXT = {"custom": {"a": "b"}, "env": {"locale": "fr"}, "client": {"app_title": "test", "other": 1},
                  "w3c": {"traceparent": "00-a-b-01", "other": "x"}}
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")
TEXT_LOG = re.compile(
    r"START RequestId: ID Version: \$LATEST\n(.*)END RequestId: ID\nREPORT RequestId: ID\tDuration: \d+\.\d\d ms"
    r"\tBilled Duration: \d+ ms\tMemory Size: 1536 MB\tMax Memory Used: \d+ MB\t(Init Duration: \d+\.\d\d ms\t)?\n", re.DOTALL)


class RuntimeApi(BaseHTTPRequestHandler):
    """As much of the Runtime API as the runtime needs for plain events."""

    protocol_version = "HTTP/1.1"
    events = queue.Queue()
    answers = queue.Queue()

    def do_GET(self):
        event, client_context = self.events.get()
        body = json.dumps(event).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Lambda-Runtime-Aws-Request-Id", str(uuid.uuid4()))
        self.send_header("Lambda-Runtime-Deadline-Ms", str(int(__import__("time").time() * 1000) + 3000))
        self.send_header("Lambda-Runtime-Invoked-Function-Arn", os.environ["ARN"])
        if client_context is not None:
            self.send_header("Lambda-Runtime-Client-Context", json.dumps(client_context))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answers.put((self.path.rsplit("/", 1)[1], body.decode("utf-8", "surrogatepass")))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


def start_runtime(folder, function, log_format):
    server = ThreadingHTTPServer(("127.0.0.1", 0), RuntimeApi)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    version = "%d.%d" % sys.version_info[:2]
    environment = dict(
        os.environ, AWS_LAMBDA_RUNTIME_API="127.0.0.1:%d" % server.server_port, AWS_LAMBDA_FUNCTION_NAME=function,
        AWS_LAMBDA_FUNCTION_VERSION="$LATEST", AWS_LAMBDA_FUNCTION_MEMORY_SIZE="1536",
        AWS_LAMBDA_LOG_GROUP_NAME="/aws/lambda/" + function, AWS_EXECUTION_ENV="AWS_Lambda_python" + version,
        _HANDLER="lambda_function.lambda_handler", PYTHONDONTWRITEBYTECODE="1",
        TZ=":UTC", **({"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "INFO"} if log_format == "JSON" else {}))
    runtime = subprocess.Popen([sys.executable, "-m", "awslambdaric", "lambda_function.lambda_handler"], cwd=folder,
                               env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)
    os.set_blocking(runtime.stdout.fileno(), False)
    return runtime


def in_runtime(runtime, event, client_context):
    RuntimeApi.events.put((event, client_context))
    kind, body = RuntimeApi.answers.get(timeout=30)
    log = b""
    # What it has said is in the pipe before it answers.
    while piece := runtime.stdout.read(65536):
        log += piece
    return shown(kind == "error", body), shown_log(log.decode())


def shown_log(log):
    """Each line of JSON as an object; of text, the text."""
    log = TIME.sub("TIME", UUID.sub("ID", log)).rstrip("\n")
    return [json.loads(line) if line.startswith("{") else line for line in log.split("\n")]


def shown(is_error, body):
    """Results as they are; of errors what they say, as they are escaped by whoever writes them."""
    body = UUID.sub("ID", body)
    return is_error, json.loads(body) if is_error else body


def functions_part(log, log_format):
    """What of a log with its answer the function has said; the platform's own lines are checked."""
    log = TIME.sub("TIME", UUID.sub("ID", log))
    if log_format != "JSON":
        return TEXT_LOG.fullmatch(log).group(1)
    lines = log.splitlines(keepends=True)
    start, report = json.loads(lines[0]), json.loads(lines[-1])
    assert start == {"time": "TIME", "type": "platform.start", "record": {"requestId": "ID", "version": "$LATEST"}}, start
    assert report["type"] == "platform.report" and report["record"]["metrics"]["billedDurationMs"] >= 1, report
    return "".join(lines[1:-1])


def in_ingle(client, function, event, client_context, log_format):
    more = {}
    if client_context is not None:
        more["ClientContext"] = base64.b64encode(json.dumps(client_context).encode()).decode()
    answer = client.invoke(FunctionName=function, Payload=json.dumps(event), LogType="Tail", **more)
    assert answer["StatusCode"] == 200 and answer["ExecutedVersion"] == "$LATEST", answer
    log = base64.b64decode(answer["LogResult"]).decode()
    said = shown_log(functions_part(log, log_format))
    return shown("FunctionError" in answer, answer["Payload"].read().decode("utf-8", "surrogatepass")), said


def main():
    endpoint, function, folder, log_format = sys.argv[1:]
    client = boto3.client("lambda", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="test",
                          aws_secret_access_key="test", config=Config(retries={"max_attempts": 0}))
    os.environ["ARN"] = "arn:aws:lambda:us-east-1:000000000000:function:" + function
    runtime = start_runtime(folder, function, log_format)
    try:
        compared = 0
        for event, client_context in [(event, None) for event in EVENTS] + [({"do": "context"}, CLIENT_CONTEXT)]:
            expected = in_runtime(runtime, event, client_context)
            found = in_ingle(client, function, event, client_context, log_format)
            compared += 1
            if expected != found:
                print(json.dumps({"event": event, "awslambdaric": expected, "ingle": found}))
        print(json.dumps({"compared": compared}))
    finally:
        runtime.kill()
        runtime.wait()


main()
