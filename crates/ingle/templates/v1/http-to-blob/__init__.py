import azure.functions as func


def main(req: func.HttpRequest, blob: func.Out[bytes]) -> func.HttpResponse:
    """Stores the body as a blob under the name in the address."""
    blob.set(req.get_body())
    return func.HttpResponse(status_code=201)
