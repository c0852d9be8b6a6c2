"""From what an app declares to what can be called."""

import asyncio
import types

import azure.functions as func
import pytest
from ingle_testing import events, user_function

app = func.FunctionApp()


@app.route(route="hello", auth_level="anonymous")
def hello(req: func.HttpRequest) -> str:
    return "hello " + req.params["name"]


@app.queue_trigger(arg_name="message", queue_name="work", connection="Storage")
@app.queue_output(arg_name="out", queue_name="more", connection="Storage")
async def work(message: func.QueueMessage, out: func.Out[str]) -> None:
    out.set(message.get_body().decode().upper())


def test_decorated_functions_are_called_as_they_are():
    assert user_function(hello)(events.http_request(params={"name": "Ada"})) == "hello Ada"
    built = hello.build(func.AuthLevel.ANONYMOUS)
    assert user_function(built)(events.http_request(params={"name": "Eve"})) == "hello Eve"


def test_coroutine_functions_stay_coroutine_functions():
    out = events.out()
    asyncio.run(user_function(work)(events.queue_message("soup"), out))
    assert out.value == "SOUP"


def test_v1_modules_and_plain_functions():
    module = types.ModuleType("cook")
    module.main = lambda message: message.get_json()
    assert user_function(module)(events.queue_message([1])) == [1]
    assert user_function(len) is len
    with pytest.raises(TypeError):
        user_function(7)
