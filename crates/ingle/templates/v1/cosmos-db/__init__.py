import logging

import azure.functions as func


def main(documents: func.DocumentList) -> None:
    """Runs for documents that are new or have changed."""
    for document in documents:
        logging.info("changed: %s", document["id"])
