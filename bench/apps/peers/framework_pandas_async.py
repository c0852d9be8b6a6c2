"""For functions-framework's asynchronous server: a greeting that does not use what it has imported, and a group-by."""

import functions_framework.aio
import numpy
import pandas
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

FRAME = pandas.DataFrame({"key": numpy.arange(200) % 7, "value": numpy.arange(200)})


@functions_framework.aio.http
async def hello(request: Request) -> Response:
    if request.url.path == "/group":
        return Response(FRAME.groupby("key").value.sum().to_json(), media_type="application/json")
    return JSONResponse({"greeting": f"Hello, {request.query_params.get('name', 'world')}!"})
