"""Functions as Google's Functions Framework knows them. ingle.toml, or FUNCTION_TARGET, says which one serves."""

import dataclasses
import os

import flask
import functions_framework


@functions_framework.http
def hello(request):
    """Takes Flask's request, gives whatever Flask can make a response of."""
    name = request.args.get("name", "world")
    if request.method == "POST":
        return flask.jsonify(got=request.get_json(), path=request.path), 201, {"X-Target": os.environ["FUNCTION_TARGET"]}
    if name == "nobody":
        flask.abort(404)
    if name == "all":
        raise RuntimeError("too many")
    return "Hello %s\n" % name


@functions_framework.cloud_event
def noted(event):
    """Takes a CloudEvent, in binary or structured mode."""
    print("noted %s from %s: %r" % (event["type"], event["source"], event.data))


@dataclasses.dataclass
class Order:
    dish: str
    count: int

    @staticmethod
    def from_dict(values):
        return Order(values["dish"], int(values["count"]))

    def to_dict(self):
        return {"dish": self.dish, "count": self.count}


@functions_framework.typed(Order)
def doubled(order):
    """Takes and gives values of a class of one's own."""
    return Order(order.dish, order.count * 2)


def stored(data, context):
    """A background function: FUNCTION_SIGNATURE_TYPE is `event`."""
    print("stored %s of %s: %s" % (data["name"], context.event_type, context.event_id))
