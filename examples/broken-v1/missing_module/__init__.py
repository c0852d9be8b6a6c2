"""E0203: no package of this name is installed."""

import a_module_that_nobody_wrote

import azure.functions as func


def main(req: func.HttpRequest) -> str:
    return a_module_that_nobody_wrote.answer()
