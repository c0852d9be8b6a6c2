"""The whole app on the platform, whose clock stands at eight in the morning until a test moves it."""

import time

import pytest


def order(platform, id, dish):
    answer = platform.http.post("/api/orders", json={"id": id, "dish": dish})
    assert answer.status == 202


def test_a_day(ingle_platform, capsys):
    began = time.monotonic()
    order(ingle_platform, "1", "soup")
    order(ingle_platform, "2", "bread")
    ingle_platform.settle()
    assert ingle_platform.blob("receipts/1.json").json()["price"] == 4
    assert not ingle_platform.blob("reports/2030-01-01.json").exists()

    ingle_platform.advance(days=1)
    report = ingle_platform.blob("reports/2030-01-01.json").json()
    assert report == {"orders": 2, "total": 6, "late": False}
    functions = [invocation.function for invocation in ingle_platform.invocations]
    assert functions == ["take_order", "take_order", "cook", "cook", "file_receipt", "file_receipt", "close_day"]
    with capsys.disabled():
        print("\na day of the restaurant took %.0f ms" % ((time.monotonic() - began) * 1000))


def test_the_day_is_closed_at_ten(ingle_platform):
    ingle_platform.advance(hours=13, minutes=59)
    assert ingle_platform.blobs("reports") == []
    ingle_platform.advance(minutes=1)
    assert ingle_platform.blobs("reports") == ["2030-01-01.json"]


def test_stew_is_cooked_again(ingle_platform):
    order(ingle_platform, "7", "stew")
    with ingle_platform.expect_failures("cook") as failures:
        ingle_platform.settle()
    assert [str(entry.failure) for entry in failures] == ["RuntimeError: the stew boiled over"]
    assert [line.message for line in ingle_platform.logs] == ["cooking stew, try 1", "cooking stew, try 2"]
    assert ingle_platform.documents("restaurant/receipts").get("7")["price"] == 9


@pytest.mark.ingle(time="2032-02-28T12:00:00Z")
def test_a_leap_day_has_its_report(ingle_platform):
    ingle_platform.advance(days=2)
    assert ingle_platform.blobs("reports") == ["2032-02-28.json", "2032-02-29.json"]
