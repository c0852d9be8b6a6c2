"""A function that does nothing but to read the blob that started it."""

import azure.functions as func

app = func.FunctionApp()


@app.blob_trigger(arg_name="source", path="inbox/{name}", connection="AzureWebJobsStorage")
def stored(source: func.InputStream) -> None:
    source.read()
