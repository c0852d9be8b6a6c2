"""E0112: a comma is missing in function.json."""

import azure.functions as func


def main(req: func.HttpRequest) -> str:
    return "never"
