"""Fills a queue over HTTP, and empties it with a function that reads each message."""

import json
from typing import List

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="fill", methods=["POST"])
@app.queue_output(arg_name="messages", queue_name="work", connection="AzureWebJobsStorage")
def fill(req: func.HttpRequest, messages: func.Out[List[str]]) -> func.HttpResponse:
    """Puts `count` messages into the queue, in one commit."""
    count = int(req.params["count"])
    messages.set([json.dumps({"order": number, "dish": "soup", "guests": 2}) for number in range(count)])
    return func.HttpResponse(status_code=202)


@app.queue_trigger(arg_name="message", queue_name="work", connection="AzureWebJobsStorage")
def work(message: func.QueueMessage) -> None:
    json.loads(message.get_body())
