"""Describes a list of numbers. Shows an app with a large compiled dependency."""

import json

import azure.functions as func
import numpy as np

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="stats", methods=["POST"])
def stats(req: func.HttpRequest) -> func.HttpResponse:
    try:
        values = np.asarray(req.get_json()["values"], dtype=float)
    except (ValueError, TypeError, KeyError):
        return answer({"error": 'send {"values": [1, 2, 3]}'}, status_code=400)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        return answer({"error": "values must be a list of at least one finite number"}, status_code=400)

    low, median, high = np.percentile(values, [5, 50, 95])
    return answer(
        {
            "count": int(values.size),
            "mean": float(values.mean()),
            "deviation": float(values.std()),
            "p5": float(low),
            "median": float(median),
            "p95": float(high),
        }
    )


def answer(value: dict, status_code: int = 200) -> func.HttpResponse:
    return func.HttpResponse(json.dumps(value), status_code=status_code, mimetype="application/json")
