@app.event_grid_trigger(arg_name="event")
def NEW_NAME(event: func.EventGridEvent) -> None:
    """Runs for each event that is delivered."""
    logging.info("%s about %s: %s", event.event_type, event.subject, event.get_json())
