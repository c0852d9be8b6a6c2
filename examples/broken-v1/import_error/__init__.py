"""E0201: the import raises."""

import azure.functions as func

RATE = 1 / len([])


def main(req: func.HttpRequest) -> str:
    return str(RATE)
