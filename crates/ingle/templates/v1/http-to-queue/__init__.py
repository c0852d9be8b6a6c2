import azure.functions as func


def main(req: func.HttpRequest, message: func.Out[str]) -> func.HttpResponse:
    """Puts the body into the queue `work` and answers at once."""
    message.set(req.get_body().decode())
    return func.HttpResponse(status_code=202)
