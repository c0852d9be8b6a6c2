@app.blob_trigger(arg_name="blob", path="inbox/{name}", connection="AzureWebJobsStorage")
def NEW_NAME(blob: func.InputStream) -> None:
    """Runs for each new or changed blob in the container `inbox`."""
    logging.info("%s has %s bytes", blob.name, blob.length)
