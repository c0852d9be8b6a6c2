"""As a Lambda function behind a URL: a greeting that does not use what it has imported, and a group-by at `/group`."""

import json

import numpy
import pandas

FRAME = pandas.DataFrame({"key": numpy.arange(200) % 7, "value": numpy.arange(200)})


def handler(event: dict, context: object) -> dict:
    if event["rawPath"] == "/group":
        body = FRAME.groupby("key").value.sum().to_json()
    else:
        body = json.dumps({"greeting": f"Hello, {event['queryStringParameters'].get('name', 'world')}!"})
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": body}
