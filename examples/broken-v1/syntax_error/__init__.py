"""E0202: a bracket is not closed."""

import azure.functions as func


def main(req: func.HttpRequest) -> str:
    return str(len(req.get_body())
