"""Extensions of AWS Lambda: programs beside the runtime that are told of each event and of the end.

Wire format: "Lambda Extensions API" of the AWS Lambda developer guide, version 2020-01-01 (facts of Lambda, section 2). Everything here is
done on the thread of the relay.
"""

import collections
import json
import os
import re
import signal
import time
import uuid

from .frames import to_json
from .relay_telemetry import Telemetry

_BASE = "/2020-01-01/extension/"
_IDENTIFIER = "lambda-extension-identifier"
_ERROR_TYPE = "lambda-extension-function-error-type"
_EXTENSIONS_MAX = 10
# What a program has for its end, in seconds; a part of it is the runtime's.
SHUTDOWN_SECONDS = 2.0
_EVENTS = ("INVOKE", "SHUTDOWN")
_KNOWN_TYPE = re.compile(r"Extension\.[A-Z][a-zA-Z]+")
# Of the environment, what only the runtime is to see, besides all that begins with an underscore.
_HIDDEN = ("AWS_XRAY_CONTEXT_MISSING",)
_ACCOUNT = "000000000000"


class Extension:
    """One that has registered."""

    def __init__(self, name, events, program):
        self.name = name
        self.id = str(uuid.uuid4())
        self.events = events
        # None of one that is part of the runtime's process.
        self.program = program
        # The connection on which it waits for an event; what it is to be told next.
        self.waiting = None
        self.news = collections.deque()
        self.has_waited = False
        self.is_told_of_end = False

    def tell(self, event):
        self.news.append(event)
        self.deal()

    def deal(self):
        if self.waiting is None or not self.news:
            return
        connection, self.waiting = self.waiting, None
        event = self.news.popleft()
        connection.answer(200, to_json(event), [("Lambda-Extension-Event-Identifier", str(uuid.uuid4()))])
        connection.go_on()


class Extensions:
    """Those of one environment, from its start to its end. `settings`: of the function, with `extensions`: folders, the first on top."""

    def __init__(self, relay, settings):
        self._relay = relay
        self._settings = settings
        self._programs = {}
        self._known = {}
        self._is_open = True
        self._is_ending = False
        self.telemetry = Telemetry(relay)

    def start(self, environment):
        """Starts the programs; gives what is wrong with one that can't be."""
        own = {name: value for name, value in environment.items() if not name.startswith("_") and name not in _HIDDEN}
        for name, path in _found(self._settings.get("extensions", ())):
            try:
                self._programs[name] = self._relay.run([path], "/", own, name)
            except OSError as problem:
                reason = (problem.strerror or str(problem)).lower()
                return _failure("Extension.LaunchError", "the extension %s can't be started: %s" % (name, reason))
        return None

    @property
    def count(self):
        return len(self._known)

    def awaits_registration(self):
        registered = {extension.name for extension in self._known.values()}
        return any(name not in registered for name in self._programs)

    def close(self):
        """The runtime is ready: nobody may come any more."""
        self._is_open = False

    def _is_starting(self):
        return not self._is_ending and (self._is_open or not all(extension.has_waited for extension in self._known.values()))

    def are_ready(self):
        """Whether each has asked for the next event."""
        return all(extension.waiting is not None for extension in self._known.values())

    def invoke(self, call, arn):
        """Tells those who want to know of an event that begins."""
        for extension in self._known.values():
            if "INVOKE" in extension.events:
                event = {"eventType": "INVOKE", "deadlineMs": call.deadline_ms, "requestId": call.id, "invokedFunctionArn": arn}
                if call.trace is not None:
                    event["tracing"] = {"type": "X-Amzn-Trace-Id", "value": call.trace}
                extension.tell(event)

    # === The end ===

    def shut_down(self, reason):
        """Tells all of the end, and ends what is still there when its time is up. The relay hears when nothing is left."""
        self._is_ending = True
        self._is_ending = True
        self._is_open = False
        deadline_ms = int((time.time() + SHUTDOWN_SECONDS) * 1000)
        told = set()
        for extension in self._known.values():
            if extension.program is not None and "SHUTDOWN" in extension.events:
                extension.news.clear()
                extension.is_told_of_end = True
                extension.tell({"eventType": "SHUTDOWN", "deadlineMs": deadline_ms, "shutdownReason": reason})
                told.add(extension.name)
        if told:
            self._relay.after(SHUTDOWN_SECONDS, self._kill, set())
        self._kill(told)
        self._check_end()

    def _kill(self, spared):
        for name, program in self._programs.items():
            if name not in spared:
                program.end(signal.SIGKILL)

    def _check_end(self):
        if self._is_ending and not self._programs:
            self._is_ending = False
            self.telemetry.finish()
            self._relay.down()

    def ended(self, program, status):
        """One of the programs has come to its end. Gives the failure that this is, if it is one."""
        if self._programs.get(program.name) is not program:
            return None
        del self._programs[program.name]
        if self._is_ending:
            self._check_end()
            return None
        how = "was ended by signal %d" % -status if status < 0 else "exited with status %d" % status
        return _failure("Extension.Crash", "the extension %s %s" % (program.name, how))

    # === Requests ===

    def gone(self, connection):
        for extension in self._known.values():
            if extension.waiting is connection:
                extension.waiting = None

    def handle(self, connection, request):
        """Answers a request of these APIs; False if it is none."""
        what = (request.method, request.path[len(_BASE) :] if request.path.startswith(_BASE) else request.path)
        if what == ("POST", "register"):
            self._register(connection, request)
        elif what in (("GET", "event/next"), ("POST", "init/error"), ("POST", "exit/error")):
            extension = self._sender(connection, request)
            if extension is None:
                pass
            elif what[0] == "GET":
                self._next(connection, extension)
            else:
                self._error(connection, request, extension, what[1] == "init/error")
        elif self.telemetry.knows(request):
            extension = self._sender(connection, request)
            if extension is not None:
                self.telemetry.subscribe(connection, request, extension.name, self._is_starting())
        else:
            return False
        return True

    def _sender(self, connection, request):
        identifier = request.headers.get(_IDENTIFIER)
        if not identifier:
            _refuse(connection, "MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header")
            return None
        try:
            identifier = str(uuid.UUID(identifier))
        except ValueError:
            _refuse(connection, "InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier")
            return None
        extension = self._known.get(identifier)
        if extension is None:
            _refuse(connection, "UnknownExtensionIdentifier", "Unknown extension %s" % identifier)
        return extension

    def _register(self, connection, request):
        name = request.headers.get("lambda-extension-name", "")
        try:
            body = json.loads(request.body or b"{}")
            events = body.get("events") or []
            is_wrong = "configurationKeys" in body or not isinstance(events, list)
        except (ValueError, AttributeError):
            is_wrong = True
        program = self._programs.get(name)
        if not name:
            _refuse(connection, "InvalidExtensionName", "Empty extension name")
        elif is_wrong:
            connection.refuse(403, "InvalidRequestFormat", "The body has to be a JSON object with the list `events`")
        elif any(extension.name == name for extension in self._known.values()):
            _refuse(connection, "InvalidExtensionState", "Extension with name %s already registered" % name)
        elif not self._is_open:
            _refuse(connection, "RegistrationClosed", "Extension registration closed already")
        elif len(self._known) >= _EXTENSIONS_MAX:
            _refuse(connection, "TooManyExtensions", "Extension limit (%d) reached" % _EXTENSIONS_MAX)
        elif any(event not in _EVENTS for event in events) or (program is None and "SHUTDOWN" in events):
            wrong = [event for event in events if event not in _EVENTS] or ["SHUTDOWN"]
            _refuse(connection, "InvalidEventType", "%s: event type is not supported" % wrong[0])
        else:
            self._accept(connection, request, Extension(name, events, program))

    def _accept(self, connection, request, extension):
        self._known[extension.id] = extension
        function = {"functionName": os.environ.get("AWS_LAMBDA_FUNCTION_NAME"), "functionVersion": "$LATEST",
                    "handler": os.environ.get("_HANDLER")}
        if "accountid" in request.headers.get("lambda-extension-accept-feature", "").lower():
            function["accountId"] = _ACCOUNT
        connection.answer(200, to_json(function), [("Lambda-Extension-Identifier", extension.id)])
        self.telemetry.platform("extension", {"name": extension.name, "state": "Registered", "events": extension.events})
        self._relay.registered()

    def _next(self, connection, extension):
        if extension.is_told_of_end and not extension.news:
            # It has heard of the end, and nothing comes behind that.
            extension.program.end(signal.SIGKILL)
            return
        extension.waiting = connection
        extension.has_waited = True
        extension.deal()
        self._relay.registered()

    def _error(self, connection, request, extension, in_init):
        kind = request.headers.get(_ERROR_TYPE, "")
        if not kind:
            _refuse(connection, "MissingHeader", "Missing Lambda-Extension-Function-Error-Type header")
            return
        if in_init and extension.has_waited:
            _refuse(connection, "InvalidExtensionState", "State transition from Ready to InitError is not allowed")
            return
        connection.answer(202, b'{"status":"OK"}\n')
        kind = kind if _KNOWN_TYPE.fullmatch(kind) else "Extension.InitError" if in_init else "Extension.ExitError"
        when = "could not start" if in_init else "has given up"
        self._relay.fail_environment(_failure(kind, "the extension %s %s: %s" % (extension.name, when, kind)))


def _found(folders):
    """Name and path of each program, those of the first folder on top."""
    found = {}
    for folder in folders:
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                found.setdefault(name, path)
    return sorted(found.items())


def _refuse(connection, kind, message):
    connection.refuse(403, "Extension." + kind, message)


def _failure(kind, message):
    return {"reason": "extension", "kind": kind, "message": message, "platform": message}
