"""A heartbeat, a daily report, and a sender that needs three attempts."""

import json
import logging

import azure.functions as func

app = func.FunctionApp()


@app.timer_trigger(arg_name="timer", schedule="*/5 * * * * *")
@app.cosmos_db_input(
    arg_name="before",
    connection="CosmosDBConnection",
    database_name="health",
    container_name="beats",
    id="heart",
    partition_key="heart",
)
@app.cosmos_db_output(
    arg_name="after",
    connection="CosmosDBConnection",
    database_name="health",
    container_name="beats",
    create_if_not_exists=True,
    partition_key="/id",
)
def heartbeat(timer: func.TimerRequest, before: func.DocumentList, after: func.Out[func.Document]) -> None:
    """Counts the beats in one document; count and schedule move on together or not at all."""
    count = before[0]["count"] if before else 0
    if timer.past_due:
        logging.warning("late: nobody was listening to the heart")
    after.set(func.Document.from_dict({"id": "heart", "count": count + 1}))


@app.timer_trigger(arg_name="timer", schedule="0 0 7 * * Mon-Fri", run_on_startup=True)
@app.queue_output(arg_name="report", queue_name="reports", connection="AzureWebJobsStorage")
def report(timer: func.TimerRequest, report: func.Out[str]) -> None:
    """Asks for a report."""
    report.set(json.dumps({"after": timer.schedule_status["Last"], "next": timer.schedule_status["Next"]}))


@app.queue_trigger(arg_name="message", queue_name="reports", connection="AzureWebJobsStorage")
@app.retry(strategy="fixed_delay", max_retry_count="2", delay_interval="00:00:01")
def send(message: func.QueueMessage, context: func.Context) -> None:
    """Fails on its first two attempts."""
    retry = context.retry_context
    if retry.retry_count < 2:
        raise ConnectionError(f"attempt {retry.retry_count + 1}: the mail server is asleep")
    logging.info("sent after: %s", retry.exception.message)
