"""Notes in a table: one partition for each owner."""

import json
import uuid

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

NOTES = {"connection": "AzureWebJobsStorage", "table_name": "Notes"}


@app.route(route="notes/{owner}", methods=["POST"])
@app.table_output(arg_name="note", partition_key="{owner}", **NOTES)
def add_note(req: func.HttpRequest, note: func.Out[str]) -> func.HttpResponse:
    try:
        sent = req.get_json()
        entity = {"RowKey": str(uuid.uuid4()), "Text": str(sent["text"]), "Stars": int(sent.get("stars", 0))}
    except (ValueError, TypeError, KeyError, AttributeError):
        return answer({"error": "send a text, e.g. {\"text\": \"buy milk\", \"stars\": 3}"}, 400)
    # The partition key comes from the binding.
    note.set(json.dumps(entity))
    return answer({"id": entity["RowKey"]}, 201)


@app.route(route="notes/{owner}/{id}", methods=["GET"])
@app.table_input(arg_name="note", partition_key="{owner}", row_key="{id}", **NOTES)
def one_note(req: func.HttpRequest, note: str) -> func.HttpResponse:
    """`note` is JSON text, or None if there is no such entity."""
    if not note:
        return answer({"error": "there is no such note"}, 404)
    return answer(json.loads(note))


@app.route(route="notes/{owner}", methods=["GET"])
@app.table_input(
    arg_name="notes", filter="PartitionKey eq '{owner}' and Stars ge {Query.stars}", take=50, **NOTES)
def good_notes(req: func.HttpRequest, notes: str) -> func.HttpResponse:
    return answer(json.loads(notes))


def answer(value, status_code: int = 200) -> func.HttpResponse:
    return func.HttpResponse(json.dumps(value), status_code=status_code, mimetype="application/json")
