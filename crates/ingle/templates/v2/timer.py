@app.timer_trigger(arg_name="timer", schedule="0 */5 * * * *")
def NEW_NAME(timer: func.TimerRequest) -> None:
    """Runs every five minutes: second, minute, hour, day, month, weekday."""
    if timer.past_due:
        logging.warning("this run is late")
    logging.info("the time has come")
