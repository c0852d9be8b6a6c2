"""For functions-framework: a greeting that does not use what it has imported, and a group-by at `/group`."""

import functions_framework
import numpy
import pandas
from flask import Request, Response, jsonify

FRAME = pandas.DataFrame({"key": numpy.arange(200) % 7, "value": numpy.arange(200)})


@functions_framework.http
def hello(request: Request) -> Response:
    if request.path == "/group":
        return Response(FRAME.groupby("key").value.sum().to_json(), mimetype="application/json")
    return jsonify(greeting=f"Hello, {request.args.get('name', 'world')}!")
