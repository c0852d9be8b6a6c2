"""A restaurant: orders come in over HTTP, are cooked one by one, and are kept as documents."""

import datetime
import json
import logging
import uuid

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="orders", methods=["POST"])
@app.queue_output(arg_name="ticket", queue_name="orders", connection="AzureWebJobsStorage")
def take_order(req: func.HttpRequest, ticket: func.Out[str]) -> func.HttpResponse:
    """Checks the order, hands it to the kitchen and answers before it is cooked."""
    try:
        order = read_order(req)
    except ValueError as error:
        return answer({"error": str(error)}, status_code=400)

    order["id"] = str(uuid.uuid4())
    order["receivedAt"] = now()
    ticket.set(json.dumps(order))
    return answer({"id": order["id"], "status": "accepted"}, status_code=202)


@app.queue_trigger(arg_name="ticket", queue_name="orders", connection="AzureWebJobsStorage")
@app.cosmos_db_output(
    arg_name="document",
    connection="CosmosDBConnection",
    database_name="restaurant",
    container_name="orders",
    create_if_not_exists=True,
    partition_key="/id",
)
def kitchen(ticket: func.QueueMessage, document: func.Out[func.Document]) -> None:
    """Cooks one order. host.json lets it take the next only when this one is done."""
    order = ticket.get_json()
    order["status"] = "prepared"
    order["preparedAt"] = now()
    document.set(func.Document.from_dict(order))
    logging.info("%d x %s for %s is ready", order["quantity"], order["dish"], order["customer"])


@app.route(route="orders/{id}", methods=["GET"])
@app.cosmos_db_input(
    arg_name="found",
    connection="CosmosDBConnection",
    database_name="restaurant",
    container_name="orders",
    id="{id}",
    partition_key="{id}",
)
def show_order(req: func.HttpRequest, found: func.DocumentList) -> func.HttpResponse:
    """Shows one order, once it has left the kitchen."""
    if not found:
        return answer({"error": "there is no such order, or it is not ready yet"}, status_code=404)
    return answer(plain(found[0]))


@app.route(route="orders", methods=["GET"])
@app.cosmos_db_input(
    arg_name="found",
    connection="CosmosDBConnection",
    database_name="restaurant",
    container_name="orders",
    sql_query="SELECT * FROM c ORDER BY c.preparedAt",
)
def list_orders(req: func.HttpRequest, found: func.DocumentList) -> func.HttpResponse:
    """Lists the prepared orders, first cooked first."""
    return answer([plain(document) for document in found or []])


def read_order(req: func.HttpRequest) -> dict:
    """Returns the order in the body; raises ValueError that says what is wrong with it."""
    try:
        body = req.get_json()
    except ValueError:
        raise ValueError("the body must be JSON") from None
    if not isinstance(body, dict):
        raise ValueError("the body must be a JSON object")

    for name in ("customer", "dish"):
        if not isinstance(body.get(name), str) or not body[name].strip():
            raise ValueError(f"{name} must be a text that is not empty")
    quantity = body.get("quantity", 1)
    if type(quantity) is not int or not 1 <= quantity <= 20:
        raise ValueError("quantity must be a whole number from 1 to 20")
    return {"customer": body["customer"].strip(), "dish": body["dish"].strip(), "quantity": quantity}


def plain(document: func.Document) -> dict:
    """The document without the properties that the database adds."""
    return {name: value for name, value in document.to_dict().items() if not name.startswith("_")}


def answer(value: object, status_code: int = 200) -> func.HttpResponse:
    return func.HttpResponse(json.dumps(value), status_code=status_code, mimetype="application/json")


def now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds")
