"""A handler that does what its event says, so that two runtimes can be compared."""

import datetime
import decimal
import os
import sys
import time


class OrderError(Exception):
    pass


def lambda_handler(event, context):
    if not isinstance(event, dict) or "do" not in event:
        return event
    return DOES[event["do"]](event, context)


def raise_cause(event, context):
    try:
        {}["missing"]
    except KeyError as error:
        raise OrderError("the order\nis gone: é") from error


def raise_deep(event, context):
    def inner(number):
        if number == 0:
            raise ValueError(
                "deep")
        inner(number - 1)

    inner(5)


def show_context(event, context):
    names = ("function_name", "function_version", "invoked_function_arn", "memory_limit_in_mb", "log_group_name", "tenant_id")
    shown = {name: getattr(context, name) for name in names}
    shown["identity"] = repr(context.identity)
    shown["client_context"] = repr(context.client_context)
    shown["w3c"] = context.w3c()
    shown["remaining"] = 0 < context.get_remaining_time_in_millis() <= 3000
    return shown


DOES = {
    "context": show_context,
    "cause": raise_cause,
    "deep": raise_deep,
    "nothing": lambda event, context: None,
    "key": lambda event, context: {}["no such key"],
    "empty": lambda event, context: (_ for _ in ()).throw(OrderError()),
    "text": lambda event, context: "Grüße \U0001f40d \ud800",
    "numbers": lambda event, context: [1, 1.5, float("nan"), float("inf"), 10**30, decimal.Decimal("2.50"), True],
    "shapes": lambda event, context: {"tuple": (1, 2), 3: "number", None: "none", True: "yes", "nested": [{"a": []}]},
    "bytes": lambda event, context: b"raw bytes",
    "set": lambda event, context: {1, 2},
    "date": lambda event, context: datetime.date(2026, 1, 1),
    "object": lambda event, context: {"a": object()},
    "keys": lambda event, context: {(1, 2): 3},
    "syntax": lambda event, context: compile("a b", "<order>", "exec"),
    "sleep": lambda event, context: time.sleep(60),
    "leave": lambda event, context: os._exit(7),
    "exit": lambda event, context: sys.exit(),
    "large": lambda event, context: "x" * 6_300_000,
}
