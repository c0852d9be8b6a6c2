"""A handler for AWS Lambda behind its function URL: greets, and counts how often this worker did."""

import json

greeted = 0


def lambda_handler(event, context):
    global greeted
    greeted += 1
    parameters = event.get("queryStringParameters") or {}
    name = parameters.get("name", "world")
    print("greeting", name)
    return {
        "statusCode": 200,
        "headers": {"Content-Type": "application/json"},
        "cookies": ["greeted=%d" % greeted],
        "body": json.dumps({
            "message": "Hello %s" % name,
            "function": context.function_name,
            "remaining": context.get_remaining_time_in_millis(),
        }),
    }
