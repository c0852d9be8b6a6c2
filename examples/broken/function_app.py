"""An app with many mistakes, one in each function. Over each stands the code that Ingle reports for it.

The function `good` has none. It runs all the same.
"""

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="good", methods=["GET"])
def good(req: func.HttpRequest) -> str:
    return "I am fine."


# E0207: an output, and nothing that starts the function.
@app.queue_output(arg_name="ticket", queue_name="tickets", connection="AzureWebJobsStorage")
def no_trigger(ticket: func.Out[str]) -> None:
    ticket.set("never")


# E0209: the binding is called `message`, the parameter `msg`.
@app.queue_trigger(arg_name="message", queue_name="letters", connection="AzureWebJobsStorage")
def wrong_parameter(msg: func.QueueMessage) -> None:
    print(msg)


# E0210: a queue message is no `int`.
@app.queue_trigger(arg_name="message", queue_name="numbers", connection="AzureWebJobsStorage")
def wrong_annotation(message: int) -> None:
    print(message)


# E0220: there is no setting QUEUE_THAT_NOBODY_SET.
@app.queue_trigger(arg_name="message", queue_name="%QUEUE_THAT_NOBODY_SET%", connection="AzureWebJobsStorage")
def missing_setting(message: func.QueueMessage) -> None:
    print(message)


# E0222, a warning: there is no setting OtherStorage. The embedded store is used.
@app.queue_trigger(arg_name="message", queue_name="parcels", connection="OtherStorage")
def missing_connection(message: func.QueueMessage) -> None:
    print(message)


# E0223: a type that exists and is not supported yet.
@app.service_bus_queue_trigger(arg_name="message", queue_name="parcels", connection="AzureWebJobsStorage")
def not_supported(message: func.ServiceBusMessage) -> None:
    print(message)


# E0224: `queueTriger` does not exist; `queueTrigger` does.
@app.generic_trigger(arg_name="message", type="queueTriger", queueName="typos")
def unknown_type(message: str) -> None:
    print(message)


# E0226, a warning: the same path and method as `good`, which comes first.
@app.route(route="good", methods=["GET"])
def same_route(req: func.HttpRequest) -> str:
    return "Nobody reads this."


# E0227: paths below `admin` belong to the server.
@app.route(route="admin/panel")
def reserved_route(req: func.HttpRequest) -> str:
    return "Nobody reads this."


# E0228: underscores are not allowed.
@app.queue_trigger(arg_name="message", queue_name="lost_letters", connection="AzureWebJobsStorage")
def bad_queue_name(message: func.QueueMessage) -> None:
    print(message)


# E0230: the brace is not closed.
@app.route(route="archive/{year}", methods=["POST"])
@app.queue_output(arg_name="copy", queue_name="archive-{year", connection="AzureWebJobsStorage")
def bad_expression(req: func.HttpRequest, copy: func.Out[str]) -> str:
    copy.set("never")
    return "never"


# E0232: `{id:nit}` has an unknown constraint.
@app.route(route="items/{id:nit}")
def bad_route(req: func.HttpRequest) -> str:
    return "never"
