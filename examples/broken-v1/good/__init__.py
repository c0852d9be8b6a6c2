"""The one function without a mistake."""

import azure.functions as func


def main(req: func.HttpRequest) -> str:
    return "I am fine."
