"""E0225: function.json has two bindings named `ticket`."""

import azure.functions as func


def main(req: func.HttpRequest, ticket: func.Out[str]) -> str:
    return "never"
