import azure.functions as func
import numpy
import pandas

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
FRAME = pandas.DataFrame({"key": numpy.arange(200) % 7, "value": numpy.arange(200)})


@app.route(route="hello")
def hello(req: func.HttpRequest) -> str:
    return '{"greeting": "hello ' + req.params.get("name", "") + '"}'


@app.route(route="group")
def group(req: func.HttpRequest) -> str:
    return FRAME.groupby("key").value.sum().to_json()
