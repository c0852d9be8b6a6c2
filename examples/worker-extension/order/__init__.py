import azure.functions as func

from stopwatch import Announce, Stopwatch

Stopwatch.configure(unit="milliseconds")
Announce(__file__, "an order")


def main(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("one %s" % req.params["dish"], status_code=201)
