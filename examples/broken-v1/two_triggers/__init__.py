"""E0208: function.json declares two triggers."""

import azure.functions as func


def main(req: func.HttpRequest, message: func.QueueMessage) -> str:
    return "never"
