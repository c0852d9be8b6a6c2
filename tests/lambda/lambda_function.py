"""A handler that does what its event says, so that two runtimes can be compared."""

import datetime
import decimal
import logging
import os
import sys
import time
import warnings


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
    shown["remaining"] = 0 < context.get_remaining_time_in_millis() <= int(os.environ.get("LONGEST_MS", "3000"))
    return shown


def say(event, context):
    logging.debug("not shown")
    logging.info("shown if the log is JSON")
    logging.warning("a warning of %s", "Grüße \U0001f40d")
    print("plain", 1)
    print("one event\rof two lines")
    print("on standard error", file=sys.stderr)
    logging.getLogger("shop.orders").critical("burning\nfor two lines", extra={"order": 7})
    warnings.warn("old")
    sys.stdout.write("after that\n")


def say_more(event, context):
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.INFO)
    try:
        # Without effect, as there is a handler.
        logging.basicConfig(level=logging.DEBUG, format="%(message)s")
        logging.debug("not shown")
        logging.info("shown")
        logging.log(25, "between two levels")
        logging.info({"order": 7, "at": datetime.date(2026, 1, 1)})
        try:
            {}["missing"]
        except KeyError:
            logging.exception("it failed")
    finally:
        root.setLevel(before)


def say_in_own_form(event, context):
    handler = logging.getLogger().handlers[0]
    before = handler.formatter
    handler.setFormatter(logging.Formatter("%(levelname)s|%(aws_request_id)s|%(message)s|%(asctime)s|\n", "%Y-%m-%dT%H:%M:%SZ"))
    try:
        logging.error("mine")
    finally:
        handler.setFormatter(before)
    raise OrderError("said")


DOES = {
    "say": say,
    "say more": say_more,
    "say in own form": say_in_own_form,
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
