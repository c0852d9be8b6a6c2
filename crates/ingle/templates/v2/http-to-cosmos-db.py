@app.route(route="NEW_NAME", methods=["POST"])
@app.cosmos_db_output(
    arg_name="document", database_name="shop", container_name="orders", connection="CosmosDBConnection"
)
def NEW_NAME(req: func.HttpRequest, document: func.Out[func.Document]) -> func.HttpResponse:
    """Stores the body, a JSON object, as a document."""
    document.set(func.Document.from_dict(req.get_json()))
    return func.HttpResponse(status_code=201)
