"""Bindings by the name of their type, for types that the SDK has no decorator for, or not in this version."""

import json

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="words", methods=["POST"])
@app.generic_output_binding(arg_name="message", type="queue", queueName="words", connection="AzureWebJobsStorage")
def say(req: func.HttpRequest, message: func.Out[str]) -> func.HttpResponse:
    message.set(req.get_body().decode())
    return func.HttpResponse(status_code=202)


# A generic trigger gives what its source sent: `str` or `bytes`, and no object of the SDK.
@app.generic_trigger(arg_name="word", type="queueTrigger", queueName="words", connection="AzureWebJobsStorage")
@app.generic_output_binding(arg_name="entity", type="table", tableName="Words", connection="AzureWebJobsStorage")
def keep(word: str, entity: func.Out[str]) -> None:
    entity.set(json.dumps({"PartitionKey": "words", "RowKey": word, "Length": len(word)}))


@app.route(route="words/{word}", methods=["GET"])
@app.generic_input_binding(arg_name="entity", type="table", tableName="Words", partitionKey="words", rowKey="{word}",
                           connection="AzureWebJobsStorage")
def look(req: func.HttpRequest, entity: str) -> func.HttpResponse:
    if not entity:
        return func.HttpResponse(status_code=404)
    return func.HttpResponse(entity, mimetype="application/json")
