"""Orders: how they are read and shown."""

import datetime
import json

import azure.functions as func


def read(req: func.HttpRequest) -> dict:
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
