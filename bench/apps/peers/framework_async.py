"""The greeting and the echo for functions-framework's asynchronous server."""

import functions_framework.aio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response


@functions_framework.aio.http
async def hello(request: Request) -> Response:
    if request.url.path == "/echo":
        return Response(await request.body(), media_type="application/octet-stream")
    return JSONResponse({"greeting": f"Hello, {request.query_params.get('name', 'world')}!"})
