"""Single functions, called with the arguments that they get in production. No server runs."""

import json

import pytest
from ingle_testing import events, user_function

import function_app

take_order = user_function(function_app.take_order)
cook = user_function(function_app.cook)
close_day = user_function(function_app.close_day)


def test_an_order_goes_to_the_kitchen():
    kitchen = events.out()
    request = events.http_request("POST", "/api/orders", json={"id": "1", "dish": "soup"})
    assert take_order(request, kitchen).status_code == 202
    assert json.loads(kitchen.value) == {"id": "1", "dish": "soup"}


@pytest.mark.parametrize("body", ["no JSON", '{"id": "1", "dish": "air"}'])
def test_nonsense_is_refused(body):
    kitchen = events.out()
    assert take_order(events.http_request("POST", body=body), kitchen).status_code == 400
    assert not kitchen.is_set


def test_a_receipt_has_the_price():
    receipt = events.out()
    cook(events.queue_message({"id": "1", "dish": "bread"}), receipt)
    assert json.loads(receipt.value)["price"] == 2


def test_stew_needs_a_second_try():
    message = {"id": "1", "dish": "stew"}
    with pytest.raises(RuntimeError):
        cook(events.queue_message(message), events.out())
    receipt = events.out()
    cook(events.queue_message(message, dequeue_count=2), receipt)
    assert json.loads(receipt.value)["price"] == 9


def test_a_late_report_says_so():
    report = events.out()
    close_day(events.timer(past_due=True), events.documents([{"price": 4}, {"price": 2}]), report)
    assert json.loads(report.value) == {"orders": 2, "total": 6, "late": True}
