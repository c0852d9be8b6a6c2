"""A Starlette app in the model of function.json, through `func.AsgiMiddleware`."""

import azure.functions as func
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route


async def dish(request):
    return JSONResponse({"name": request.path_params["name"], "sizes": request.query_params.getlist("size")})


async def echo(request):
    return Response(await request.body(), media_type="application/octet-stream", status_code=201)


async def login(request):
    response = PlainTextResponse("welcome")
    response.set_cookie("visits", "1")
    response.set_cookie("theme", "dark")
    return response


web = Starlette(routes=[
    Route("/dishes/{name}", dish),
    Route("/echo", echo, methods=["POST"]),
    Route("/login", login),
])


async def main(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    return await func.AsgiMiddleware(web).handle_async(req, context)
