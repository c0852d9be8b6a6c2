"""Calls a handler in AWS's own runtime and in Ingle, through AWS's own client, and prints each difference as a line of JSON.

Usage: python compare.py ENDPOINT FUNCTION FOLDER

`awslambdaric` runs the handler of the folder against a small Runtime API of this script; boto3 invokes the function at the endpoint.
Numbers of requests and what names the machine are left out of the comparison.
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
    "syntax")]
EVENTS += [{}, [], None, 1, 1.5, "text", "é", {"nested": {"list": [1, None, True]}}, {"key": "Grüße \U0001f40d"}]
CLIENT_CONTEXT = {"custom": {"a": "b"}, "env": {"locale": "fr"}, "client": {"app_title": "test", "other": 1},
                  "w3c": {"traceparent": "00-a-b-01", "other": "x"}}
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
PREFIX = "/2018-06-01/runtime/"


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


def start_runtime(folder, function):
    server = ThreadingHTTPServer(("127.0.0.1", 0), RuntimeApi)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    version = "%d.%d" % sys.version_info[:2]
    environment = dict(
        os.environ, AWS_LAMBDA_RUNTIME_API="127.0.0.1:%d" % server.server_port, AWS_LAMBDA_FUNCTION_NAME=function,
        AWS_LAMBDA_FUNCTION_VERSION="$LATEST", AWS_LAMBDA_FUNCTION_MEMORY_SIZE="1536",
        AWS_LAMBDA_LOG_GROUP_NAME="/aws/lambda/" + function, AWS_EXECUTION_ENV="AWS_Lambda_python" + version,
        _HANDLER="lambda_function.lambda_handler", PYTHONDONTWRITEBYTECODE="1")
    return subprocess.Popen([sys.executable, "-m", "awslambdaric", "lambda_function.lambda_handler"], cwd=folder,
                            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def in_runtime(event, client_context):
    RuntimeApi.events.put((event, client_context))
    kind, body = RuntimeApi.answers.get(timeout=30)
    return shown(kind == "error", body)


def shown(is_error, body):
    """Results as they are; of errors what they say, as they are escaped by whoever writes them."""
    body = UUID.sub("ID", body)
    return is_error, json.loads(body) if is_error else body


def in_ingle(client, function, event, client_context):
    more = {}
    if client_context is not None:
        more["ClientContext"] = base64.b64encode(json.dumps(client_context).encode()).decode()
    answer = client.invoke(FunctionName=function, Payload=json.dumps(event), **more)
    assert answer["StatusCode"] == 200 and answer["ExecutedVersion"] == "$LATEST", answer
    return shown("FunctionError" in answer, answer["Payload"].read().decode("utf-8", "surrogatepass"))


def main():
    endpoint, function, folder = sys.argv[1:]
    client = boto3.client("lambda", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="test",
                          aws_secret_access_key="test", config=Config(retries={"max_attempts": 0}))
    os.environ["ARN"] = "arn:aws:lambda:us-east-1:000000000000:function:" + function
    runtime = start_runtime(folder, function)
    try:
        compared = 0
        for event, client_context in [(event, None) for event in EVENTS] + [({"do": "context"}, CLIENT_CONTEXT)]:
            expected = in_runtime(event, client_context)
            found = in_ingle(client, function, event, client_context)
            compared += 1
            if expected != found:
                print(json.dumps({"event": event, "awslambdaric": expected, "ingle": found}))
        print(json.dumps({"compared": compared}))
    finally:
        runtime.kill()
        runtime.wait()


main()
