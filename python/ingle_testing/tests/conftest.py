"""The tests of the platform need the program `ingle`: `INGLE=target/debug/ingle pytest`."""

import os
import textwrap

import pytest

HEAD = """\
import json, logging, os, time
import azure.functions as func
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
S = "AzureWebJobsStorage"
"""


def write_app(folder, text, **files):
    (folder / "function_app.py").write_text(HEAD + textwrap.dedent(text))
    (folder / "host.json").write_text(files.get("host", '{"version": "2.0"}'))
    if "ingle" in files:
        (folder / "ingle.toml").write_text(files["ingle"])
    return folder


@pytest.fixture
def start(tmp_path):
    """Starts the platform with an app of these lines."""
    if not os.environ.get("INGLE"):
        pytest.skip("the variable INGLE names no program")
    from ingle_testing import Platform

    started = []

    def start(text, host='{"version": "2.0"}', ingle="", **more):
        folder = tmp_path / "app"
        folder.mkdir(exist_ok=True)
        started.append(Platform(write_app(folder, text, host=host, ingle=ingle), **more))
        return started[-1].start()

    yield start
    for platform in started:
        platform.close()
