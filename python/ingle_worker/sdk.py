"""The app's `azure.functions`: found in the app's environment at load, never imported by name here."""

import datetime
import importlib
import io
import os

from .context import Context, Out


class Sdk:
    """What the worker uses of the SDK, looked up once."""

    def __init__(self):
        self.functions = importlib.import_module("azure.functions")
        meta = importlib.import_module("azure.functions.meta")
        http = importlib.import_module("azure.functions.http")
        self.version = getattr(self.functions, "__version__", None)
        self.folder = os.path.dirname(os.path.abspath(self.functions.__file__)) + os.sep
        self.Datum = meta.Datum
        self.Out = self.functions.Out
        # So that `isinstance` says the same as in Azure, without classes of ours that derive from the app's.
        self.Out.register(Out)
        self.functions.Context.register(Context)
        self.HttpRequest = http.HttpRequest
        self.HttpResponse = importlib.import_module("azure.functions._abc").HttpResponse
        self._registry = self.functions.get_binding_registry()
        # Only when the converter is the one we know is it safe to go around it.
        _read_usual_dates_fast(meta)
        _keep_paths_of_wsgi(http)
        self.http_is_stock = self._registry.get("httpTrigger") is getattr(http, "HttpRequestConverter", None)

    def converter(self, binding_type):
        """The SDK's converter class for a binding type, or None. Tolerates other capitals than Azure's."""
        found = self._registry.get(binding_type)
        if found is not None:
            return found
        lower = binding_type.lower()
        for name, converter in getattr(self._registry, "_bindings", {}).items():
            # The SDK also registers converters under `True`.
            if isinstance(name, str) and name.lower() == lower:
                return converter
        return None

    def has_implicit_output(self, binding_type):
        """Whether a function may return a value without a `$return` binding, because of its trigger."""
        converter = self.converter(binding_type)
        if converter is None:
            return binding_type.lower() != "durableclient"
        check = getattr(converter, "has_implicit_output", None)
        return bool(check()) if check is not None else False


def _keep_paths_of_wsgi(http):
    """Mends the path that a WSGI app gets, in versions of the SDK that encode it twice: `ä` arrives as `Ã¤` there.

    PEP 3333 wants the bytes of the path as Latin-1, which the SDK's request has already made of it.
    """
    try:
        wsgi = importlib.import_module("azure.functions._http_wsgi").WsgiRequest
        original = wsgi.to_environ
        probe = wsgi(http.HttpRequest(method="GET", url="http://localhost/%C3%A4", headers={}, params={}, route_params={},
                                      body_type="bytes", body=b""))
        is_right = original(probe, io.StringIO())["PATH_INFO"] == "/\xc3\xa4"
        is_mendable = probe.path_info == "/\xc3\xa4"
    except Exception:
        # Another version, with other insides; it does what it does.
        return
    if is_right or not is_mendable:
        return

    def to_environ(self, errors_buffer):
        environ = original(self, errors_buffer)
        environ["PATH_INFO"] = self.path_info
        return environ

    wsgi.to_environ = to_environ


def _read_usual_dates_fast(meta):
    """Puts a short cut before the SDK's own reading of dates, for the one form in which Ingle sends them.

    The SDK tries `strptime` formats, which was 40 % of the time of a queue function. What is not of that form goes the
    SDK's way; the result is the same either way.
    """
    base = getattr(meta, "_BaseConverter", None)
    original = getattr(base, "_parse_datetime", None)
    if original is None:
        return
    read = datetime.datetime.fromisoformat

    def parse_datetime(_class, text):
        if text is not None and len(text) == 25 and text.endswith("+00:00"):
            try:
                return read(text)
            except ValueError:
                pass
        return original(text)

    base._parse_datetime = classmethod(parse_datetime)
