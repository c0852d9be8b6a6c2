"""A function that takes 50 ms and no processor."""

import time

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="work")
def work(req: func.HttpRequest) -> str:
    time.sleep(0.05)
    return "done"
