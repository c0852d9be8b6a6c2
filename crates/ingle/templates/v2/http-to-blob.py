@app.route(route="NEW_NAME/{name}", methods=["PUT"])
@app.blob_output(arg_name="blob", path="inbox/{name}", connection="AzureWebJobsStorage")
def NEW_NAME(req: func.HttpRequest, blob: func.Out[bytes]) -> func.HttpResponse:
    """Stores the body as a blob under the name in the address."""
    blob.set(req.get_body())
    return func.HttpResponse(status_code=201)
