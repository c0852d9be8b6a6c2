"""T-018, T-019: saying more than anybody wants to hear."""

import logging
import os

import azure.functions as func


def lines(arguments):
    for number in range(arguments["lines"]):
        print("flood %d" % number)
    for number in range(arguments["lines"]):
        logging.info("flood %d", number)
    return {"said": 2 * arguments["lines"]}


def garbage(arguments):
    os.write(1, bytes(range(256)) * 4096)
    os.write(2, b"\x1b]0;title\x07\x1b[2J" * 4096 + b"\xff\xfe\x00")
    return {"said": "garbage"}


def one_line(arguments):
    piece = b"x" * (1 << 20)
    for _ in range(arguments["megabytes"]):
        os.write(1, piece)
    os.write(1, b"\n")
    return {"said": arguments["megabytes"]}


def one_message(arguments):
    print("y" * arguments["bytes"])
    return {"said": arguments["bytes"]}


def body(arguments):
    return func.HttpResponse(bytes(arguments["bytes"]))


def headers(arguments):
    return func.HttpResponse("x", headers={"x-%d" % number: "v" * 100 for number in range(arguments["count"])})


def bad_headers(_arguments):
    return func.HttpResponse("x", headers={"x-split": "a\r\nset-cookie: b=c", "content-length": "7"})


def status(arguments):
    return func.HttpResponse("x", status_code=arguments["status"])
