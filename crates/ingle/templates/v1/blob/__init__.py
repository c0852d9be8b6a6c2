import logging

import azure.functions as func


def main(blob: func.InputStream) -> None:
    """Runs for each new or changed blob in the container `inbox`."""
    logging.info("%s has %s bytes", blob.name, blob.length)
