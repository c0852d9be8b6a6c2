"""Web apps: one object, named as `module.name`, that takes all requests. Whether WSGI or ASGI is decided here."""

import asyncio
import importlib
import os
import re

from . import problems, web
from .load import where
from .load_lambda import import_target
from .plan import Plan

# Of the app's own environment: they make the app.
_DJANGO = "django.core.wsgi"
_FRAMEWORK = "functions_framework"


def load(root, request, loaded):
    """Imports the module of each app."""
    # A module may run a loop of its own while it is imported, and Django's database refuses to work beside one.
    running = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        for function in request.get("functions") or ():
            target = _target(root, function, loaded)
            if target is not None:
                _add(root, function, target[0], loaded)
    finally:
        asyncio._set_running_loop(running)


def _target(root, function, loaded):
    """The app in a tuple: as it is named, or as somebody makes it. None if it can't be had, which is reported."""
    maker = (function["bindings"][0].get("maker") if function["bindings"] else None) or {}
    if not maker:
        return import_target(root, function, loaded)
    try:
        return (_MAKERS[maker["kind"]](root, function, maker),)
    except BaseException as error:
        loaded.problems.append(problems.import_failed(error, function["name"], function["script_file"]))
        return None


def _django(root, function, maker):
    os.environ["DJANGO_SETTINGS_MODULE"] = function["entry_point"]
    return importlib.import_module(_DJANGO).get_wsgi_application()


def _functions_framework(root, function, maker):
    os.environ["FUNCTION_TARGET"] = maker["target"]
    source = os.path.join(root, function["script_file"])
    return importlib.import_module(_FRAMEWORK).create_app(maker["target"], source, maker.get("signature"))


def _action(root, function, maker):
    # Imported here, as below: no other web app needs it.
    from . import openwhisk
    module, name = function["entry_point"].rsplit(".", 1)
    return openwhisk.app(openwhisk.function(os.path.join(root, function["script_file"]), module, name), maker["raw"])


def _program(root, function, maker):
    from . import openwhisk
    return openwhisk.app(openwhisk.program(os.path.join(root, maker["file"])), maker["raw"])


_MAKERS = {"django": _django, "functions-framework": _functions_framework, "open-whisk": _action, "program": _program}


def _add(root, function, app, loaded):
    name, script_file = function["name"], function["script_file"]
    attribute = function["entry_point"].rsplit(".", 1)[1]
    file, line = where(app)
    if file is None:
        file, line = script_file, line_of(root, script_file, attribute)
    interface = web.interface_of(app)
    if interface is None:
        loaded.report("E0244", "%s is neither a WSGI app nor an ASGI app: it is %s" % (attribute, _what(app)),
                      function=name, file=file, line=line, fix=_fix(app, attribute))
        return
    plan = _asgi_plan(name, app, root, loaded) if interface == web.ASGI else _wsgi_plan(name, app, root)
    loaded.functions.append(declaration(function, file, line, plan))
    loaded.plans[name] = plan


def declaration(function, file, line, plan=None):
    """The fields of a web app in the `loaded` frame."""
    return {
        "name": function["name"],
        "directory": "",
        "script_file": function["script_file"],
        "entry_point": function["entry_point"],
        "bindings": [{"type": "web"}],
        "is_async": plan is not None and plan.is_async,
        "streams": plan is not None and plan.streams,
        "file": file,
        "line": line,
    }


def _wsgi_plan(name, app, root):
    def call(request):
        return web.call_wsgi(app, request)

    plan = Plan(name, call, root)
    plan.decoders = {"request": web.environ_decoder()}
    plan.inputs = ("request",)
    plan.returned = web.encode_response
    return plan


def _asgi_plan(name, app, root, loaded):
    lifespan = web.Lifespan(app)
    loaded.apps.append(lifespan)

    async def call(request):
        request["state"] = await lifespan.start()
        # It is called as the response that it is.
        return app

    plan = Plan(name, call, root)
    plan.decoders = {"request": web.scope_decoder()}
    plan.inputs = ("request",)
    plan.streams = True
    return plan


def _what(app):
    if isinstance(app, type):
        return "the class %s" % app.__name__
    kind = type(app).__name__
    return "a %s%s" % (kind, "" if callable(app) else ", which can't be called")


def _fix(app, attribute):
    if callable(app) and web._takes(app, 0):
        return "if %s makes the app, call it: app = %s()" % (attribute, attribute)
    return ("name what takes (environ, start_response), or is async and takes (scope, receive, send); "
            "a handler of AWS Lambda is named with --handler")


def line_of(root, script_file, attribute):
    """The line that gives a name its value; None if none is seen to."""
    pattern = re.compile(r"(%s)\s*[:=]" % re.escape(attribute))
    try:
        with open(os.path.join(root, script_file), encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                if pattern.match(line):
                    return number
    except OSError:
        pass
    return None
