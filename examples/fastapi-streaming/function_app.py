"""Bodies in pieces: server-sent events, large uploads and downloads, with the types of FastAPI."""

import asyncio
import hashlib

import azure.functions as func
from azurefunctions.extensions.http.fastapi import FileResponse, JSONResponse, Request, StreamingResponse

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


async def count(last: int):
    """One event for each number; ends early when the caller leaves."""
    try:
        for number in range(1, last + 1):
            yield f"data: {number}\n\n"
            await asyncio.sleep(0.2)
    finally:
        print("the counting ends")


@app.route(route="count/{last:int}", methods=[func.HttpMethod.GET])
async def events(req: Request) -> StreamingResponse:
    return StreamingResponse(count(int(req.path_params["last"])), media_type="text/event-stream")


@app.route(route="digest", methods=[func.HttpMethod.POST])
async def digest(req: Request) -> JSONResponse:
    """Reads a body of any size, piece by piece."""
    length, digest = 0, hashlib.sha256()
    async for piece in req.stream():
        length += len(piece)
        digest.update(piece)
    return JSONResponse({"length": length, "sha256": digest.hexdigest()})


def zeros(megabytes: int):
    for _ in range(megabytes):
        yield bytes(1024 * 1024)


@app.route(route="zeros/{megabytes:int}", methods=[func.HttpMethod.GET])
def download(req: Request) -> StreamingResponse:
    """A plain function and a plain generator stream as well."""
    return StreamingResponse(zeros(int(req.path_params["megabytes"])), media_type="application/octet-stream")


@app.route(route="source", methods=[func.HttpMethod.GET])
async def source(req: Request) -> FileResponse:
    return FileResponse(__file__, media_type="text/x-python")


@app.route(route="hello", methods=[func.HttpMethod.GET])
async def hello(req: Request):
    """What is no response becomes JSON."""
    return {"hello": req.query_params.get("name", "world")}
