"""The greeting and the echo for functions-framework, which has one function and no routes."""

import functions_framework
from flask import Request, Response, jsonify


@functions_framework.http
def hello(request: Request) -> Response:
    if request.path == "/echo":
        return Response(request.get_data(), mimetype="application/octet-stream")
    return jsonify(greeting=f"Hello, {request.args.get('name', 'world')}!")
