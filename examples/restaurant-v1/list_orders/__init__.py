"""Lists the prepared orders, first cooked first."""

import azure.functions as func
from shared_code import orders


def main(req: func.HttpRequest, found: func.DocumentList) -> func.HttpResponse:
    return orders.answer([orders.plain(document) for document in found or []])
