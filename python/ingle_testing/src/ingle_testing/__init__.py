"""Tests for Azure Functions.

`ingle_testing.events` makes the arguments of functions, as the platform makes them, for tests of single functions:

    from ingle_testing import events, user_function

    def test_an_order_is_taken():
        request = events.http_request("POST", "/api/orders", json={"item": "soup"})
        queue = events.out()
        assert user_function(function_app.take_order)(request, queue).status_code == 202
        assert queue.value == '{"item": "soup"}'

`Platform` is the platform itself, for tests of whole chains. Its clock stands still until the test moves it:

    def test_the_kitchen_closes(ingle_platform):
        ingle_platform.http.post("/api/orders", json={"item": "soup"})
        ingle_platform.advance(days=1)
        assert ingle_platform.blob("reports/2030-01-02.txt").text() == "1 order"
"""

from .errors import AppProblems, FunctionFailed, IngleNotFound, NotSettled, PlatformError, SdkMissing
from .functions import user_function
from .platform import Platform
from .records import Failure, Invocation, LogLine, Message, Response

__all__ = [
    "AppProblems",
    "Failure",
    "FunctionFailed",
    "IngleNotFound",
    "Invocation",
    "LogLine",
    "Message",
    "NotSettled",
    "Platform",
    "PlatformError",
    "Response",
    "SdkMissing",
    "user_function",
]

__version__ = "0.1.0"
