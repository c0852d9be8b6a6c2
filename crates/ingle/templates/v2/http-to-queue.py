@app.route(route="NEW_NAME", methods=["POST"])
@app.queue_output(arg_name="message", queue_name="work", connection="AzureWebJobsStorage")
def NEW_NAME(req: func.HttpRequest, message: func.Out[str]) -> func.HttpResponse:
    """Puts the body into the queue `work` and answers at once."""
    message.set(req.get_body().decode())
    return func.HttpResponse(status_code=202)
