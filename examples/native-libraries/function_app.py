"""Large native libraries are imported once, in the process that workers are forked from.

The channel is made when it is used first: at the top level it would start threads, and a process with threads is not forked.
"""

import functools
import json
import os

import azure.functions as func
import grpc
import numpy
import pandas
from lxml import etree
from sklearn.linear_model import LinearRegression

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

IMPORTED_BY = os.getpid()
SALES = pandas.DataFrame({"shop": ["a", "b", "a", "b"], "day": [1, 1, 2, 2], "pieces": [3, 5, 4, 6]})


@functools.cache
def channel():
    return grpc.insecure_channel("127.0.0.1:9")


@app.route(route="sales")
def sales(req: func.HttpRequest) -> str:
    by_shop = SALES.groupby("shop").pieces.sum()
    trend = LinearRegression().fit(SALES[["day"]].to_numpy(), SALES["pieces"].to_numpy()).coef_[0]
    page = etree.fromstring("<shops>%s</shops>" % "".join("<shop>%s</shop>" % name for name in by_shop.index))
    return json.dumps({
        "pieces": by_shop.to_dict(),
        "trend": round(float(trend), 6),
        "shops": page.xpath("count(//shop)"),
        "mean": float(numpy.mean(SALES["pieces"])),
        "forked": os.getpid() != IMPORTED_BY,
    })


@app.route(route="inventory")
def inventory(req: func.HttpRequest) -> str:
    """Asks a service that is not there: what matters is that the channel works in a forked worker."""
    try:
        channel().unary_unary("/Inventory/Count")(b"", timeout=0.5)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"
