"""The greeting as a route of Chalice."""

from chalice import Chalice

app = Chalice(app_name="hello")


@app.route("/hello")
def hello():
    return {"greeting": f"Hello, {app.current_request.query_params.get('name', 'world')}!"}
