"""The kitchen of a restaurant, as a FastAPI app that knows nothing of Ingle."""

import asyncio
import contextlib

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI):
    print("the kitchen opens")
    yield {"menu": {"soup": 4, "bread": 2}}
    print("the kitchen closes")


app = FastAPI(lifespan=lifespan)


class Order(BaseModel):
    dish: str
    quantity: int = 1


@app.get("/dishes/{name}")
async def dish(name: str, request: Request):
    menu = request.state.menu
    if name not in menu:
        raise HTTPException(404, "no such dish")
    return {"name": name, "price": menu[name]}


@app.post("/orders", status_code=201)
async def order(order: Order, request: Request):
    return {"total": request.state.menu[order.dish] * order.quantity}


@app.get("/countdown")
async def countdown(seconds: int = 3):
    async def numbers():
        for left in range(seconds, 0, -1):
            yield "%d\n" % left
            await asyncio.sleep(1)
        yield "ready\n"

    return StreamingResponse(numbers(), media_type="text/plain")
