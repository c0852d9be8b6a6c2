"""A whole Flask app as one function: Flask does the routing."""

import azure.functions as func
from flask import Flask, jsonify, make_response, request

web = Flask(__name__)


@web.get("/")
def index():
    return "<h1>Café</h1>"


@web.get("/dishes/<name>")
def dish(name):
    return jsonify(name=name, sizes=request.args.getlist("size"), visits=request.cookies.get("visits"))


@web.post("/echo")
def echo():
    response = make_response(request.get_data())
    response.mimetype = "application/octet-stream"
    return response


@web.post("/orders")
def order():
    return jsonify(dish=request.form["dish"], receipt=request.files["receipt"].read().hex()), 201


@web.get("/login")
def login():
    response = make_response("", 302)
    response.headers["Location"] = "/"
    response.set_cookie("visits", "1", max_age=60)
    response.set_cookie("theme", "dark", httponly=True)
    return response


@web.get("/broken")
def broken():
    raise RuntimeError("the oven is cold")


app = func.WsgiFunctionApp(app=web.wsgi_app, http_auth_level=func.AuthLevel.ANONYMOUS)
