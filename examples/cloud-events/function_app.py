"""A webhook for CloudEvents, from whatever sends them: a git server, a build, a shop."""

import json
import logging

import azure.functions as func

app = func.FunctionApp()


@app.event_grid_trigger(arg_name="event")
@app.queue_output(arg_name="message", queue_name="builds", connection="AzureWebJobsStorage")
def pushed(event: str, message: func.Out[str]) -> None:
    # As text, an event has every attribute that its sender gave it.
    attributes = json.loads(event)
    logging.info("%s from %s", attributes["type"], attributes["source"])
    # Senders deliver at least once: whoever takes the message can tell by the id that it came before.
    message.set(json.dumps({"id": attributes["id"], "branch": attributes["data"]["branch"]}))
