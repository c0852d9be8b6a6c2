@app.warm_up_trigger(arg_name="warmup")
def NEW_NAME(warmup) -> None:
    """Runs in a new worker before its first request: open connections and fill caches here."""
    logging.info("warm")
