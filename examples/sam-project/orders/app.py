import json
import logging
import os

logging.getLogger().setLevel(logging.INFO)


def handler(event, context):
    if event.get("report"):
        logging.info("nothing was sold")
        return None
    order = {"id": event["pathParameters"]["id"], "currency": os.environ["CURRENCY"]}
    return {"statusCode": 200, "body": json.dumps(order)}
