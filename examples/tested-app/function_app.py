"""A day in a restaurant: an order is taken, cooked and filed, and at ten in the evening the day is closed."""

import json
import logging

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

STORAGE = "AzureWebJobsStorage"
PRICES = {"soup": 4, "stew": 9, "bread": 2}


@app.route(route="orders", methods=["POST"])
@app.queue_output(arg_name="kitchen", queue_name="kitchen", connection=STORAGE)
def take_order(req: func.HttpRequest, kitchen: func.Out[str]) -> func.HttpResponse:
    try:
        order = req.get_json()
    except ValueError:
        return func.HttpResponse("an order is JSON", status_code=400)
    if order.get("dish") not in PRICES:
        return func.HttpResponse("there is %s" % ", ".join(sorted(PRICES)), status_code=400)
    kitchen.set(json.dumps({"id": order["id"], "dish": order["dish"]}))
    return func.HttpResponse(status_code=202)


@app.queue_trigger(arg_name="order", queue_name="kitchen", connection=STORAGE)
@app.blob_output(arg_name="receipt", path="receipts/{id}.json", connection=STORAGE)
def cook(order: func.QueueMessage, receipt: func.Out[str]) -> None:
    wanted = order.get_json()
    logging.info("cooking %s, try %d", wanted["dish"], order.dequeue_count)
    if wanted["dish"] == "stew" and order.dequeue_count == 1:
        raise RuntimeError("the stew boiled over")
    receipt.set(json.dumps({**wanted, "price": PRICES[wanted["dish"]]}))


@app.blob_trigger(arg_name="receipt", path="receipts/{name}.json", connection=STORAGE)
@app.cosmos_db_output(arg_name="book", database_name="restaurant", container_name="receipts", connection="Books")
def file_receipt(receipt: func.InputStream, book: func.Out[func.Document]) -> None:
    book.set(func.Document.from_json(receipt.read()))


@app.timer_trigger(arg_name="evening", schedule="0 0 22 * * *")
@app.cosmos_db_input(arg_name="receipts", database_name="restaurant", container_name="receipts", connection="Books",
                     sql_query="SELECT * FROM c")
@app.blob_output(arg_name="report", path="reports/{datetime:yyyy-MM-dd}.json", connection=STORAGE)
def close_day(evening: func.TimerRequest, receipts: func.DocumentList, report: func.Out[str]) -> None:
    prices = [receipt["price"] for receipt in receipts]
    report.set(json.dumps({"orders": len(prices), "total": sum(prices), "late": evening.past_due}))
