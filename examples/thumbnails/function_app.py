"""Pictures in, thumbnails out: each blob that arrives in `images` makes a smaller one in `thumbs`."""

import logging

import azure.functions as func

from png import read_png, write_png

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

SIDE_MAX = 32


@app.blob_trigger(arg_name="image", path="images/{album}/{name}.png", connection="AzureWebJobsStorage")
@app.blob_input(
    arg_name="caption", path="images/{album}/{name}.txt", connection="AzureWebJobsStorage", data_type="STRING"
)
@app.blob_output(arg_name="thumb", path="thumbs/{album}/{name}-small.png", connection="AzureWebJobsStorage")
def shrink(image: func.InputStream, caption: str, thumb: func.Out[bytes]) -> None:
    """Runs for every picture in an album, new or replaced."""
    width, height, rows = read_png(image.read())
    step = max(1, -(-max(width, height) // SIDE_MAX))
    small = [row[::step] for row in rows[::step]]
    thumb.set(write_png(small))
    logging.info("%s (%s): %dx%d, %d bytes", image.name, caption or "no caption", width, height, image.length)


@app.route(route="thumbs/{album}/{name}", methods=["GET"])
@app.blob_input(
    arg_name="thumb", path="thumbs/{album}/{name}-small.png", connection="AzureWebJobsStorage", data_type="BINARY"
)
def show(req: func.HttpRequest, thumb: func.InputStream) -> func.HttpResponse:
    """Shows a thumbnail; a blob that is not there is None."""
    if thumb is None:
        return func.HttpResponse("no such thumbnail", status_code=404)
    return func.HttpResponse(thumb.read(), mimetype="image/png")
