import azure.functions as func


def main(req: func.HttpRequest, row: func.Out[str]) -> func.HttpResponse:
    """Stores the body, a JSON object, as a row under the id in the address."""
    row.set(req.get_body().decode())
    return func.HttpResponse(status_code=201)
