"""Actions of Apache OpenWhisk as WSGI apps, by the rules of its web actions.

An action takes a dictionary and gives one, or is a program that reads JSON from its standard input and writes the result as the
last line of its output. How a request becomes a dictionary, and a result a response, is as OpenWhisk's controller does it
(documentation of OpenWhisk, "Web Actions").
"""

import base64
import importlib.util
import json
import os
import subprocess
import sys
from http import HTTPStatus
from urllib.parse import parse_qsl

_RESERVED = ("__ow_method", "__ow_headers", "__ow_path", "__ow_user", "__ow_query", "__ow_body")
_EXTENSIONS = ("http", "json", "html", "svg", "text")
# Where OpenWhisk serves web actions; what follows is namespace, package and action.
_PREFIX = ("", "api", "v1", "web")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_TEXT_TYPES = ("text/", "application/x-www-form-urlencoded", "application/javascript", "application/xml")
_CORS = [
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "OPTIONS, GET, DELETE, POST, PUT, HEAD, PATCH"),
]
_CORS_HEADERS = "Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent"


class ActionFailed(RuntimeError):
    """An action gave no result that can be used. The invocation fails with this message."""


class _Refused(Exception):
    """An answer other than the action's: status and message."""


def function(path, module, name):
    """The action of a script: imports it now."""
    if module == "__main__":
        # That is the worker itself; the action's own file gets a name of its own.
        spec = importlib.util.spec_from_file_location("__action__", path)
        loaded = importlib.util.module_from_spec(spec)
        sys.modules["__action__"] = loaded
        spec.loader.exec_module(loaded)
    else:
        loaded = importlib.import_module(module.replace("/", "."))
    main = getattr(loaded, name, None)
    if not callable(main):
        raise AttributeError("%s has no function '%s'" % (os.path.basename(path), name))

    def run(arguments):
        return main(arguments)

    return run


def program(path):
    """The action that is a program. It is started for each event."""
    if not os.access(path, os.X_OK):
        raise PermissionError("%s can't be run: set its executable bit with chmod +x" % os.path.basename(path))

    def run(arguments):
        text = json.dumps(arguments).encode()
        done = subprocess.run([path], input=text + b"\n", stdout=subprocess.PIPE, cwd=os.path.dirname(path), check=False)
        lines = done.stdout.decode("utf-8", "replace").rstrip("\n").split("\n")
        for line in lines[:-1]:
            print(line)
        if done.returncode:
            print(lines[-1])
            raise ActionFailed("the program ended with exit code %d" % done.returncode)
        try:
            return json.loads(lines[-1])
        except ValueError:
            raise ActionFailed("the last line of the program's output is no JSON: %.200r" % lines[-1]) from None

    return run


def app(run, raw):
    """A WSGI app that serves the action. `raw`: it gets query and body as they are."""

    def serve(environ, start_response):
        cors = _CORS + [("Access-Control-Allow-Headers", environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", _CORS_HEADERS))]
        try:
            if environ["REQUEST_METHOD"] not in _METHODS:
                raise _Refused(405, "The HTTP method is not allowed")
            if environ["REQUEST_METHOD"] == "OPTIONS":
                status, headers, body = 200, [], b""
            else:
                path, extension = _path(environ)
                result = run(_arguments(environ, path, raw))
                status, headers, body = _respond(result, extension)
        except _Refused as refused:
            status, message = refused.args
            headers, body = [("Content-Type", "application/json")], _json({"error": message})
        start_response("%d %s" % (status, _phrase(status)), cors + headers)
        return [body]

    return serve


def _phrase(status):
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _path(environ):
    """The path below the action, and the extension of the action's name."""
    path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
    parts = path.split("/")
    if tuple(parts[:4]) != _PREFIX or len(parts) < 7:
        return path if path != "/" else "", "http"
    _, dot, extension = parts[6].rpartition(".")
    rest = "".join("/" + part for part in parts[7:])
    return rest, extension if dot and extension in _EXTENSIONS else "http"


def _arguments(environ, path, raw):
    """The dictionary that an action gets."""
    headers = {name[5:].lower().replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")}
    if environ.get("CONTENT_TYPE"):
        headers["content-type"] = environ["CONTENT_TYPE"]
    body = environ["wsgi.input"].read()
    own = {"__ow_method": environ["REQUEST_METHOD"].lower(), "__ow_headers": headers, "__ow_path": path}
    query = environ.get("QUERY_STRING", "")
    kind = environ.get("CONTENT_TYPE", "").split(";")[0].strip().lower()
    if raw:
        return dict(own, __ow_query=query, __ow_body=_opaque(body, kind))
    given = dict(parse_qsl(query, keep_blank_values=True))
    found = _body(body, kind)
    given.update(found if isinstance(found, dict) else {})
    if any(name in _RESERVED for name in given):
        raise _Refused(400, "Request defines parameters that are not allowed (e.g., reserved properties).")
    if found is not None and not isinstance(found, dict):
        given["__ow_body"] = found
    return dict(own, **given)


def _body(body, kind):
    """A dictionary whose members are arguments, another value, or None for no body."""
    if not body:
        return None
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return json.loads(body)
        except ValueError as error:
            raise _Refused(400, "The request content was malformed: %s" % error) from None
    if kind == "application/x-www-form-urlencoded":
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    return _opaque(body, kind)


def _opaque(body, kind):
    if not body or not kind or kind.startswith(_TEXT_TYPES) or (kind.endswith("+json") or kind.endswith("+xml")):
        # Without a type it is text if it can be.
        try:
            return body.decode()
        except UnicodeDecodeError:
            pass
    return base64.b64encode(body).decode()


def _json(value):
    return json.dumps(value, ensure_ascii=False).encode()


def _respond(result, extension):
    """Status, headers and body for what an action gave."""
    if not isinstance(result, (dict, list)):
        raise ActionFailed("the action gave %s, and no dictionary" % type(result).__name__)
    try:
        # What can't be JSON can't leave an action either.
        result = json.loads(json.dumps(result))
    except (TypeError, ValueError, RecursionError) as error:
        raise ActionFailed("the result of the action is no JSON: %s" % error) from None
    if isinstance(result, dict) and "error" in result:
        print("the action gave an error: %.500s" % json.dumps(result["error"]), file=sys.stderr)
        result = result["error"]
    return _PROJECTIONS[extension](result)


def _as_http(result):
    try:
        if not isinstance(result, dict):
            raise ValueError
        headers = _headers(result.get("headers", {}))
        status = _status(result["statusCode"]) if "statusCode" in result else None
    except (TypeError, ValueError):
        raise _Refused(400, "Response is not valid 'message/http'.") from None
    body = result.get("body")
    given = [value for name, value in headers if name.lower() == "content-type"]
    headers = [(name, value) for name, value in headers if name.lower() != "content-type"]
    if body is None or body == "":
        return status or 204, headers, b""
    if isinstance(body, str):
        kind = given[0] if given else "text/html"
        return status or 200, headers + [("Content-Type", _with_charset(kind))], _of_text(body, kind)
    kind = given[0] if given else "application/json"
    if not _is_json(kind):
        raise _Refused(400, "Response type in header did not match generated content type.")
    return status or 200, headers + [("Content-Type", kind)], _json(body)


def _of_text(body, kind):
    """Text of a binary type is base64; so may text of JSON be, as old actions have it."""
    name = kind.split(";")[0].strip().lower()
    if name.startswith(_TEXT_TYPES) or name.endswith("+xml"):
        return body.encode()
    try:
        return base64.b64decode(body, validate=True)
    except ValueError:
        if _is_json(name):
            return body.encode()
        raise _Refused(400, "Response type in header did not match generated content type.") from None


def _is_json(kind):
    name = kind.split(";")[0].strip().lower()
    return name == "application/json" or name.endswith("+json")


def _with_charset(kind):
    return kind + "; charset=UTF-8" if kind.lower().startswith("text/") and "charset" not in kind.lower() else kind


def _status(value):
    if isinstance(value, bool) or not isinstance(value, (int, float, str)) or int(value) != float(value):
        raise ValueError
    status = int(value)
    if not 100 <= status <= 599:
        raise ValueError
    return status


def _headers(headers):
    found = []
    for name, value in headers.items() if isinstance(headers, dict) else _fail():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, bool):
                one = "true" if one else "false"
            elif not isinstance(one, (str, int, float)):
                raise ValueError
            found.append((name, str(one)))
    return found


def _fail():
    raise ValueError


def _as_json(result):
    if not isinstance(result, (dict, list)):
        raise _Refused(400, "Response is not valid 'application/json'.")
    return 200, [("Content-Type", "application/json")], _json(result)


def _as_text(result):
    if isinstance(result, dict):
        if "body" not in result and "text" not in result:
            raise _Refused(404, "Response does not include requested property.")
        result = result["body"] if "body" in result else result["text"]
    text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
    return 200, [("Content-Type", "text/plain; charset=UTF-8")], text.encode()


def _as_markup(key, kind):
    def respond(result):
        found = result.get("body", result.get(key)) if isinstance(result, dict) else result
        if not isinstance(found, str):
            raise _Refused(400, "Response is not valid '%s'." % kind)
        return 200, [("Content-Type", _with_charset(kind))], found.encode()

    return respond


_PROJECTIONS = {
    "http": _as_http,
    "json": _as_json,
    "text": _as_text,
    "html": _as_markup("html", "text/html"),
    "svg": _as_markup("svg", "image/svg+xml"),
}
