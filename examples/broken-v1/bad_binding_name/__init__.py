"""E0229: `order-ticket` can not be the name of a parameter."""

import azure.functions as func


def main(req: func.HttpRequest, order_ticket: func.Out[str]) -> str:
    return "never"
