"""Who may call what: one function for everybody, one for holders of a key, one for the administrator."""

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)


@app.route(route="menu", auth_level=func.AuthLevel.ANONYMOUS)
def menu(req: func.HttpRequest) -> str:
    return "soup"


# The level of the app: a key of this function, a host key or the master key.
@app.route(route="orders", methods=["POST"])
def order(req: func.HttpRequest) -> str:
    return "ordered"


@app.route(route="closing", methods=["POST"], auth_level=func.AuthLevel.ADMIN)
def close(req: func.HttpRequest) -> str:
    return "closed"
