"""Events that Event Grid delivers become documents."""

import json
import logging

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

PICTURES = {"connection": "CosmosDBConnection", "database_name": "album", "container_name": "pictures"}

# Filled once in each worker, before it takes work.
KINDS = {}


@app.warm_up_trigger(arg_name="warm")
def warm(warm) -> None:
    KINDS.update({"png": "image/png", "jpg": "image/jpeg"})
    logging.info("this worker is warm")


@app.event_grid_trigger(arg_name="event")
@app.cosmos_db_output(arg_name="picture", **PICTURES)
def stored(event: func.EventGridEvent, picture: func.Out[func.Document]) -> None:
    # Event Grid delivers at least once: an event that comes twice writes the same document twice.
    picture.set(func.Document.from_dict({
        "id": event.id,
        "name": event.subject,
        "kind": KINDS.get((event.subject or "").rpartition(".")[2], "unknown"),
        "url": event.get_json()["url"],
    }))


@app.route(route="pictures", methods=["GET"])
@app.cosmos_db_input(arg_name="found", sql_query="SELECT c.id, c.name, c.kind FROM c ORDER BY c.id", **PICTURES)
def list_pictures(req: func.HttpRequest, found: func.DocumentList) -> func.HttpResponse:
    return func.HttpResponse(json.dumps([dict(row) for row in found]), mimetype="application/json")
