"""One function, four outputs: all of them are written in one commit, or none."""

import json

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

STORAGE = {"connection": "AzureWebJobsStorage"}


@app.route(route="orders/{id}", methods=["PUT"])
@app.queue_output(arg_name="tasks", queue_name="tasks", **STORAGE)
@app.blob_output(arg_name="receipt", path="receipts/{id}.txt", **STORAGE)
@app.table_output(arg_name="entry", table_name="Journal", partition_key="orders", row_key="{id}", **STORAGE)
@app.cosmos_db_output(arg_name="order", connection="CosmosDBConnection", database_name="shop", container_name="orders")
def put_order(req: func.HttpRequest, tasks: func.Out[str], receipt: func.Out[str], entry: func.Out[str],
              order: func.Out[func.Document]) -> func.HttpResponse:
    id, dishes = req.route_params["id"], req.get_json()["dishes"]
    # A list becomes a message for each of its elements.
    tasks.set(json.dumps([f"cook {dish}" for dish in dishes]))
    receipt.set("\n".join(dishes))
    entry.set(json.dumps({"Dishes": len(dishes)}))
    order.set(func.Document.from_dict({"id": id, "dishes": dishes}))
    if "mud" in dishes:
        # Everything above is set already, and nothing of it will be there.
        raise ValueError("we don't serve mud")
    return func.HttpResponse(status_code=204)
