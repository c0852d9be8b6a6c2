"""E0212: function.json asks for `answer`, and there is only `main`."""

import azure.functions as func


def main(req: func.HttpRequest) -> str:
    return "never"
