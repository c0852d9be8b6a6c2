import logging


def main(warmup) -> None:
    """Runs in a new worker before its first request: open connections and fill caches here."""
    logging.info("warm")
