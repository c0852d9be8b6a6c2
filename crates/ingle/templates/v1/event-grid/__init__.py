import logging

import azure.functions as func


def main(event: func.EventGridEvent) -> None:
    """Runs for each event that is delivered."""
    logging.info("%s about %s: %s", event.event_type, event.subject, event.get_json())
