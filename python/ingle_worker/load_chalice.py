"""What an imported Chalice app says of itself: its routes and its other functions, as plain values for the server.

Only attributes of the app are read, by the names that Chalice's own deployment reads them by (chalice 1.26 to 1.34). Nothing of
Chalice is imported here.
"""

import inspect

from .load import where

# Chalice's class for an event source, and what the server calls it. Others are told by the name of their class.
_KINDS = {
    "ScheduledEventConfig": "schedule",
    "SQSEventConfig": "queue",
    "S3EventConfig": "bucket",
    "SNSEventConfig": "topic",
}
# What another event source comes from, by the attribute that names it.
_ORIGINS = ("topic", "stream", "stream_arn", "event_pattern", "route_key_handled")
# Where Chalice's wrappers keep what they wrap.
_WRAPPED = ("func", "_original_func", "__wrapped__")
_WRAPPERS_MAX = 20


def is_app(value):
    """Whether this is an object of Chalice's class for apps, or of one made from it."""
    return any(kind.__name__ == "Chalice" and kind.__module__.split(".")[0] == "chalice" for kind in type(value).__mro__)


def declared(app):
    """Everything that the server needs to serve the app: `{"name", "binary_types", "routes", "functions"}`.

    Each route and function has `file`, relative to the app's folder, and `line`; None if these are not known.
    """
    routes = [_route(path, method, entry) for path, methods in app.routes.items() for method, entry in methods.items()]
    functions = [_function("lambda", one, app) for one in app.pure_lambda_functions]
    functions += [_event_function(one, app) for one in app.event_sources]
    functions += [_function("authorizer", one, app) for one in app.builtin_auth_handlers]
    functions += [_websocket(one, app) for one in getattr(app, "websocket_handlers", {}).values()]
    return {
        "name": str(app.app_name),
        "binary_types": [str(kind) for kind in app.api.binary_types],
        "routes": routes,
        "functions": functions,
    }


def _route(path, method, entry):
    file, line = _place(entry.view_function)
    authorizer = _own_authorizer(entry.authorizer)
    is_foreign = entry.authorizer is not None and authorizer is None
    return {
        "path": str(path),
        "method": str(method),
        "cors": _cors(entry.cors),
        "authorizer": authorizer,
        "wants_key": bool(entry.api_key_required),
        "guard": "the authorizer %s" % entry.authorizer.name if is_foreign else None,
        "file": file,
        "line": line,
    }


def _own_authorizer(authorizer):
    """The function of the app that decides about a route: `{"name", "header", "ttl_seconds"}`; None for what AWS decides."""
    config = getattr(authorizer, "config", None)
    if config is None:
        return None
    ttl = getattr(config, "ttl_seconds", None)
    return {"name": str(config.name), "header": str(getattr(config, "header", "Authorization")), "ttl_seconds": ttl}


def _cors(cors):
    # Chalice's own headers say what its rules come to.
    return None if cors is None else {str(name).lower(): str(text) for name, text in cors.get_access_control_headers().items()}


def _function(kind, config, app):
    file, line = _place(app.handler_map.get(config.name))
    return {
        "kind": kind,
        "name": str(config.name),
        "handler": str(config.handler_string),
        "file": file,
        "line": line,
    }


def _event_function(config, app):
    class_name = type(config).__name__
    function = _function(_KINDS.get(class_name, "other"), config, app)
    if function["kind"] == "schedule":
        expression = config.schedule_expression
        function["expression"] = expression if isinstance(expression, str) else expression.to_string()
    elif function["kind"] == "queue":
        function["queue"] = config.queue or str(config.queue_arn).rsplit(":", 1)[-1]
        function["batch_size"] = config.batch_size
        function["window_seconds"] = config.maximum_batching_window_in_seconds
        function["concurrency"] = config.maximum_concurrency
    elif function["kind"] == "bucket":
        function.update(bucket=config.bucket, events=list(config.events), prefix=config.prefix, suffix=config.suffix)
    elif function["kind"] == "topic":
        function["topic"] = str(config.topic)
    else:
        function["origin"] = _origin(config, class_name)
    return function


def _websocket(config, app):
    return dict(_function("other", config, app), origin=_origin(config, type(config).__name__))


def _origin(config, class_name):
    kind = class_name[:-len("EventConfig")] if class_name.endswith("EventConfig") else class_name.replace("Config", "")
    named = next((getattr(config, name) for name in _ORIGINS if getattr(config, name, None)), None)
    return kind if named is None else "%s %s" % (kind, named)


def _place(handler):
    for _ in range(_WRAPPERS_MAX):
        if inspect.isroutine(handler):
            break
        inner = next((getattr(handler, name) for name in _WRAPPED if hasattr(handler, name)), None)
        if inner is None:
            break
        handler = inner
    return (None, None) if handler is None else where(handler)
