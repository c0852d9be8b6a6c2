import logging

import azure.functions as func


def main(req: func.HttpRequest) -> func.HttpResponse:
    """Greets whoever is named in the query or in the body."""
    name = req.params.get("name") or req.get_body().decode() or "stranger"
    logging.info("greeting %s", name)
    return func.HttpResponse(f"Hello, {name}!\n")
