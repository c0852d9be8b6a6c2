"""The greeting and the echo that every system answers, as `def` and as `async def`."""

import json

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="hello", methods=["GET"])
def hello(req: func.HttpRequest) -> func.HttpResponse:
    return greeting(req)


@app.route(route="hello_async", methods=["GET"])
async def hello_async(req: func.HttpRequest) -> func.HttpResponse:
    return greeting(req)


@app.route(route="echo", methods=["POST"])
def echo(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(req.get_body(), mimetype="application/octet-stream")


def greeting(req: func.HttpRequest) -> func.HttpResponse:
    text = json.dumps({"greeting": f"Hello, {req.params.get('name', 'world')}!"})
    return func.HttpResponse(text, mimetype="application/json")
