"""The greeting and the echo in FastAPI, for uvicorn."""

from fastapi import FastAPI, Request, Response

app = FastAPI()


@app.get("/hello")
async def hello(name: str = "world") -> dict:
    return {"greeting": f"Hello, {name}!"}


@app.post("/echo")
async def echo(request: Request) -> Response:
    return Response(await request.body(), media_type="application/octet-stream")
