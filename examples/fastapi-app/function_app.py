"""A FastAPI app as one function. Its lifespan begins before the first request of each worker and ends with the worker."""

from contextlib import asynccontextmanager

import azure.functions as func
from fastapi import FastAPI, HTTPException, Request, Response, UploadFile
from pydantic import BaseModel

STARTS = []


@asynccontextmanager
async def lifespan(api: FastAPI):
    STARTS.append("start")
    api.state.kitchen = "open"
    print("the kitchen opens")
    yield
    print("the kitchen closes")


api = FastAPI(lifespan=lifespan)


class Order(BaseModel):
    dish: str
    quantity: int = 1


@api.get("/dishes/{name:path}")
async def dish(name: str, request: Request, size: str = "M"):
    return {"name": name, "size": size, "url": str(request.url), "kitchen": request.app.state.kitchen, "starts": STARTS}


@api.post("/orders", status_code=201)
def order(order: Order):
    return order


@api.post("/pictures")
async def picture(file: UploadFile):
    return {"name": file.filename, "content": (await file.read()).hex()}


@api.get("/login")
def login(response: Response):
    response.set_cookie("visits", "1", max_age=60)
    response.set_cookie("theme", "dark", httponly=True)
    return "welcome"


@api.get("/closed")
def closed():
    raise HTTPException(status_code=409, detail="the kitchen is closed")


@api.get("/broken")
async def broken():
    raise RuntimeError("the oven is cold")


app = func.AsgiFunctionApp(app=api, http_auth_level=func.AuthLevel.ANONYMOUS)
