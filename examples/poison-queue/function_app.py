"""A queue worker that fails on bad messages, and a second function that takes care of them."""

import json
import logging

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="payments", methods=["POST"])
@app.queue_output(arg_name="message", queue_name="payments", connection="AzureWebJobsStorage")
def take_payment(req: func.HttpRequest, message: func.Out[str]) -> func.HttpResponse:
    """Passes the body on unseen, so that bad ones get into the queue."""
    message.set(req.get_body().decode("utf-8", "replace"))
    return func.HttpResponse(status_code=202)


@app.queue_trigger(arg_name="message", queue_name="payments", connection="AzureWebJobsStorage")
def charge(message: func.QueueMessage) -> None:
    """Fails if the message is not JSON or has no positive amount; then it is delivered again."""
    logging.info("attempt %d", message.dequeue_count)
    payment = json.loads(message.get_body())
    if payment["amount"] <= 0:
        raise ValueError(f"the amount must be positive, and it is {payment['amount']}")
    logging.info("charged %s with %.2f", payment["customer"], payment["amount"])


@app.queue_trigger(arg_name="message", queue_name="payments-poison", connection="AzureWebJobsStorage")
@app.cosmos_db_output(
    arg_name="complaint",
    connection="CosmosDBConnection",
    database_name="bank",
    container_name="complaints",
    create_if_not_exists=True,
    partition_key="/id",
)
def complain(message: func.QueueMessage, complaint: func.Out[func.Document]) -> None:
    """Keeps what could not be charged, for a person to look at."""
    text = message.get_body().decode("utf-8")
    logging.warning("could not charge: %s", text)
    complaint.set(func.Document.from_dict({"id": message.id, "text": text}))
