import logging

import azure.functions as func


def main(timer: func.TimerRequest) -> None:
    """Runs every five minutes: second, minute, hour, day, month, weekday."""
    if timer.past_due:
        logging.warning("this run is late")
    logging.info("the time has come")
