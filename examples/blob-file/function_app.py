"""Large files as local paths: the content never has to be in memory."""

import hashlib
import json
import logging
import pathlib

import azure.functions as func

app = func.FunctionApp()

PIECE = 1024 * 1024


@app.blob_trigger(arg_name="film", path="films/{name}", connection="AzureWebJobsStorage", mode="file")
@app.blob_output(arg_name="report", path="reports/{name}.json", connection="AzureWebJobsStorage")
def inspect(film: pathlib.Path, report: func.Out[str]) -> None:
    """`film` is a read-only copy that is removed when this function has ended."""
    digest = hashlib.sha256()
    lines = 0
    with film.open("rb") as content:
        while True:
            piece = content.read(PIECE)
            if not piece:
                break
            digest.update(piece)
            lines += piece.count(b"\n")
    report.set(json.dumps({"bytes": film.stat().st_size, "lines": lines, "sha256": digest.hexdigest()}))
    logging.info("read %s piece by piece", film.name)
