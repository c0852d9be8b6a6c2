"""Orders whose ids are made by the client, so that it may send one again that was not answered."""

import json

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="orders", methods=["POST"])
@app.queue_output(arg_name="ticket", queue_name="orders", connection="Storage")
def take(req: func.HttpRequest, ticket: func.Out[str]) -> func.HttpResponse:
    ticket.set(json.dumps(req.get_json()))
    return func.HttpResponse(status_code=202)


@app.queue_trigger(arg_name="ticket", queue_name="orders", connection="Storage")
@app.cosmos_db_output(
    arg_name="document",
    connection="Documents",
    database_name="shop",
    container_name="orders",
    create_if_not_exists=True,
    partition_key="/id",
)
def keep(ticket: func.QueueMessage, document: func.Out[func.Document]) -> None:
    document.set(func.Document.from_dict(ticket.get_json()))
