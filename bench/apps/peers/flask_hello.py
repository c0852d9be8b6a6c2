"""The greeting and the echo in Flask, for gunicorn."""

from flask import Flask, Response, jsonify, request

app = Flask(__name__)


@app.get("/hello")
def hello() -> Response:
    return jsonify(greeting=f"Hello, {request.args.get('name', 'world')}!")


@app.post("/echo")
def echo() -> Response:
    return Response(request.get_data(), mimetype="application/octet-stream")
