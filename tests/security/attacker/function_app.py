"""The app that attacks. Each module is one kind of attack, each of its functions tries something."""

import importlib
import json
import os
import sys

import azure.functions as func

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

# Where the process counts that forks workers. Not every kernel tells.
try:
    with open("/proc/self/cgroup") as groups:
        os.GROUPS_AT_IMPORT = groups.read()
except OSError:
    os.GROUPS_AT_IMPORT = None


@app.route(route="attack/{kind}/{name}", methods=["POST"])
def attack(req: func.HttpRequest) -> func.HttpResponse:
    module = importlib.import_module(req.route_params["kind"])
    arguments = json.loads(req.get_body() or b"{}")
    answer = getattr(module, req.route_params["name"])(arguments)
    if isinstance(answer, func.HttpResponse):
        return answer
    return func.HttpResponse(json.dumps(answer), mimetype="application/json")


@app.route(route="pid")
def pid(req: func.HttpRequest) -> str:
    return "%d" % os.getpid()


@app.route(route="swapped", methods=["POST"])
@app.blob_output(arg_name="out", path="box/swapped", connection="S")
def swapped(req: func.HttpRequest, out: func.Out[bytes]) -> str:
    """T-010: names a large output, and puts something else there while the server looks."""
    import spool

    spool.prepare(json.loads(req.get_body()))
    out.set(b"x" * (2 << 20))
    return "ok"


@app.route(route="swapped/content")
@app.blob_input(arg_name="data", path="box/swapped", connection="S")
def content(req: func.HttpRequest, data: func.InputStream) -> bytes:
    return data.read()[:4096]
