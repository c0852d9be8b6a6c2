import azure.functions as func


def main(req: func.HttpRequest, document: func.Out[func.Document]) -> func.HttpResponse:
    """Stores the body, a JSON object, as a document."""
    document.set(func.Document.from_dict(req.get_json()))
    return func.HttpResponse(status_code=201)
