"""The greeting as a Lambda function behind a URL."""

import json


def handler(event: dict, context: object) -> dict:
    greeting = f"Hello, {event['queryStringParameters'].get('name', 'world')}!"
    return {
        "statusCode": 200,
        "headers": {"content-type": "application/json"},
        "body": json.dumps({"greeting": greeting}),
    }
