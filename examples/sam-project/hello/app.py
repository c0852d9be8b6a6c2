import json

from words import greeting


def handler(event, context):
    return {"statusCode": 200, "body": json.dumps({"message": greeting(event["pathParameters"]["name"])})}
