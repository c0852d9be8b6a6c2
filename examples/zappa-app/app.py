"""A Flask app as Zappa deploys it: settings and events are in zappa_settings.json."""

import os

from flask import Flask, jsonify, make_response, request

app = Flask(__name__)


@app.get("/")
def greet():
    return "%s, %s\n" % (os.environ["GREETING"], request.args.get("name", "world"))


@app.post("/pots")
def order():
    pot = request.get_json()
    response = make_response(jsonify(pot=pot, by=request.headers.get("X-Waiter")), 201)
    response.set_cookie("table", "7")
    response.set_cookie("guest", "Ada")
    return response


@app.route("/echo/<path:path>", methods=["GET", "PUT"])
def echo(path):
    return jsonify(path=path, query=request.args.to_dict(flat=False), method=request.method, body=request.get_data(as_text=True))


@app.get("/stage")
def stage():
    names = ("FRAMEWORK", "SERVERTYPE", "PROJECT", "STAGE")
    return jsonify({name: os.environ.get(name) for name in names})


@app.get("/leaf.png")
def leaf():
    return bytes(range(256)), 200, {"Content-Type": "image/png"}


@app.get("/broken")
def broken():
    raise RuntimeError("the kettle is empty")
