@app.route(route="NEW_NAME/{id}", methods=["PUT"])
@app.table_output(
    arg_name="row", table_name="orders", partition_key="all", row_key="{id}", connection="AzureWebJobsStorage"
)
def NEW_NAME(req: func.HttpRequest, row: func.Out[str]) -> func.HttpResponse:
    """Stores the body, a JSON object, as a row under the id in the address."""
    row.set(req.get_body().decode())
    return func.HttpResponse(status_code=201)
