"""What a Lambda handler says by `logging`, in AWS's two forms (facts of the Lambda runtime, sections 1.8 and 1.10).

Each line goes out twice in one frame: as AWS writes it, and as plain message with level and logger for Ingle's own log.
"""

import json
import logging
import os
import time
import traceback

from . import logs
from .context import current_id

_FORMAT = "AWS_LAMBDA_LOG_FORMAT"
_LEVEL = "AWS_LAMBDA_LOG_LEVEL"
# What each record has. 3.12 added the name of a task, which AWS's runtime takes for one of the user's own.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) - {"taskName"} | {"aws_request_id"}

_plain = logging.Formatter()


def install():
    """Gives the root logger AWS's handler instead of Ingle's, and AWS's level."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, logs.Handler)]:
        root.removeHandler(handler)
    # Warnings are what Python makes of them: text on standard error.
    logging.captureWarnings(False)
    logging.Formatter.converter = time.gmtime
    handler = LambdaLoggerHandler()
    handler.addFilter(_name_request)
    handler.setFormatter(JsonFormatter() if os.environ.get(_FORMAT, "").upper() == "JSON" else TextFormatter())
    root.addHandler(handler)
    logs.leave_level(_level())


def _level():
    name = os.environ.get(_LEVEL, "").upper()
    level = logging.getLevelName("DEBUG" if name == "TRACE" else name)
    return level if isinstance(level, int) else logging.WARNING


def _name_request(record):
    # Also for a format of the user's own that has it.
    record.aws_request_id = current_id() or ""
    return True


class LambdaLoggerHandler(logging.Handler):
    """The root logger's handler, under the name that it has on AWS."""

    def emit(self, record):
        try:
            level, message = logs.level_name(record.levelno), _plain.format(record)
            logs.send(level, record.name, message, self.format(record))
        except Exception:
            self.handleError(record)


class TextFormatter(logging.Formatter):
    """`[LEVEL]`, time, id of the request and message, with tabs between them."""

    def __init__(self):
        super().__init__("[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n", "%Y-%m-%dT%H:%M:%S")


class JsonFormatter(logging.Formatter):
    """One JSON object a line. What an application adds with `extra` stands behind what each line has."""

    def __init__(self):
        super().__init__(datefmt="%Y-%m-%dT%H:%M:%SZ")
        self._encode = json.JSONEncoder(ensure_ascii=False, default=str).encode

    def format(self, record):
        # Levels between two of Python's are the lower one.
        level = min(max(record.levelno, 0), logging.CRITICAL) // 10 * 10
        is_object = isinstance(record.msg, dict) and not record.args
        line = {
            "timestamp": self.formatTime(record, self.datefmt),
            "level": logging.getLevelName(level),
            "message": record.msg if is_object else record.getMessage(),
            "logger": record.name,
        }
        if record.exc_info and record.exc_info[0] is not None:
            kind, error, trace = record.exc_info
            line.update(stackTrace=traceback.format_tb(trace), errorType=kind.__name__, errorMessage=str(error))
        line["requestId"] = getattr(record, "aws_request_id", None)
        if record.exc_info:
            line["location"] = "%s:%s:%d" % (record.pathname, record.funcName, record.lineno)
        for name, value in vars(record).items():
            if name not in _STANDARD:
                line.setdefault(name, value)
        return self._encode({name: value for name, value in line.items() if value is not None}) + "\n"
