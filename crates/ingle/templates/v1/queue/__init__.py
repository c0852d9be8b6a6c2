import logging

import azure.functions as func


def main(message: func.QueueMessage) -> None:
    """Runs for each message; one that raises is delivered again, and after five times moved to `work-poison`."""
    logging.info("message %s, try %s: %s", message.id, message.dequeue_count, message.get_body().decode())
