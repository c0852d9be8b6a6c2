"""The greeting as a handler behind its URL."""

import json


def lambda_handler(event, context):
    greeting = f"Hello, {event['queryStringParameters'].get('name', 'world')}!"
    return {
        "statusCode": 200,
        "headers": {"content-type": "application/json"},
        "body": json.dumps({"greeting": greeting}),
    }
