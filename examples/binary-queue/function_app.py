"""Messages that are bytes and no text: readings of a sensor, packed into eight bytes each."""

import json
import struct

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

READING = struct.Struct("<If")


@app.route(route="readings", methods=["POST"])
@app.queue_output(arg_name="message", queue_name="readings", connection="AzureWebJobsStorage")
def measure(req: func.HttpRequest, message: func.Out[bytes]) -> func.HttpResponse:
    reading = req.get_json()
    message.set(READING.pack(int(reading["sensor"]), float(reading["celsius"])))
    return func.HttpResponse(status_code=202)


# `dataType: binary` hands the message over as it is. `func.QueueMessage` with `get_body()` would do as well; `str` would
# not, as these bytes are no text.
@app.queue_trigger(arg_name="message", queue_name="readings", connection="AzureWebJobsStorage", data_type="binary")
@app.cosmos_db_output(arg_name="out", connection="CosmosDBConnection", database_name="house", container_name="readings")
def store(message: bytes, out: func.Out[func.Document]) -> None:
    sensor, celsius = READING.unpack(message)
    out.set(func.Document.from_dict({"id": str(sensor), "celsius": round(celsius, 2)}))


@app.route(route="readings/{sensor}", methods=["GET"])
@app.cosmos_db_input(arg_name="found", connection="CosmosDBConnection", database_name="house",
                     container_name="readings", id="{sensor}", partition_key="{sensor}")
def last(req: func.HttpRequest, found: func.DocumentList) -> func.HttpResponse:
    if not found:
        return func.HttpResponse(status_code=404)
    return func.HttpResponse(json.dumps({"celsius": found[0]["celsius"]}), mimetype="application/json")
