"""Shows one order, once it has left the kitchen."""

import azure.functions as func
from shared_code import orders


def main(req: func.HttpRequest, found: func.DocumentList) -> func.HttpResponse:
    if not found:
        return orders.answer({"error": "there is no such order, or it is not ready yet"}, status_code=404)
    return orders.answer(orders.plain(found[0]))
