"""Takes an order, hands it to the kitchen and answers before it is cooked."""

import json
import uuid

import azure.functions as func
from shared_code import orders


def main(req: func.HttpRequest, ticket: func.Out[str]) -> func.HttpResponse:
    try:
        order = orders.read(req)
    except ValueError as error:
        return orders.answer({"error": str(error)}, status_code=400)

    order["id"] = str(uuid.uuid4())
    order["receivedAt"] = orders.now()
    ticket.set(json.dumps(order))
    return orders.answer({"id": order["id"], "status": "accepted"}, status_code=202)
