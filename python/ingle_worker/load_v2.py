"""Apps of decorators: one module, one `FunctionApp`, many functions."""

import importlib
import json
import os
import sys

from . import errors, lifespan, problems
from .load import where

# The SDK's names of retry settings, and what function.json calls them.
_RETRY_KEYS = {
    "max_retry_count": "maxRetryCount",
    "delay_interval": "delayInterval",
    "minimum_interval": "minimumInterval",
    "maximum_interval": "maximumInterval",
}
_STRATEGIES = {"fixed_delay": "fixedDelay", "exponential_backoff": "exponentialBackoff"}


def load(root, request, loaded):
    """Imports the script file and indexes every function it declares."""
    script_file = request.get("script_file") or "function_app.py"
    if not os.path.isfile(os.path.join(root, script_file)):
        loaded.report("E0213", "the script file %s does not exist" % script_file, file=script_file,
                      fix="create it, or set PYTHON_SCRIPT_FILE_NAME to the file with the FunctionApp")
        return
    with _SecondTriggers(loaded.sdk) as second_triggers:
        try:
            module = importlib.import_module(os.path.splitext(script_file)[0].replace(os.sep, "."))
        except BaseException as error:
            loaded.problems.append(problems.import_failed(error, None, script_file))
            return
    app = _find_app(module, script_file, loaded)
    if app is None:
        return
    loaded.apps.append(app)
    lifespan.start_once(app)
    _index(root, script_file, app, second_triggers.found, loaded)
    _check_blueprints(app, loaded)
    if not loaded.functions and not any(found["severity"] == "error" for found in loaded.problems):
        loaded.report("E0206", "%s declares no function" % script_file, file=script_file,
                      fix="decorate a function, for example with @app.route(), or register its blueprint")


class _SecondTriggers:
    """Collects functions that are given a second trigger.

    The SDK raises while the decorator runs, which would end the import and take every other function with it.
    """

    def __init__(self, sdk):
        self._class = getattr(sdk.functions, "Function", None)
        self._original = None
        self.found = {}

    def __enter__(self):
        original = self._original = getattr(self._class, "add_trigger", None)
        found = self.found
        if original is None:
            return self

        def add_trigger(function, trigger):
            if function.get_trigger() is None:
                return original(function, trigger)
            found.setdefault(id(function), []).append(trigger)
            return None

        self._class.add_trigger = add_trigger
        return self

    def __exit__(self, *_):
        if self._original is not None:
            self._class.add_trigger = self._original


def _find_app(module, script_file, loaded):
    register = loaded.sdk.functions.FunctionRegister
    found = {}
    for name, value in vars(module).items():
        if isinstance(value, register):
            found.setdefault(id(value), (name, value))
    apps = list(found.values())
    if len(apps) == 1:
        return apps[0][1]
    if apps:
        loaded.report("E0205", "%s has %d FunctionApp objects: %s" % (
            script_file, len(apps), ", ".join(name for name, _ in apps)), file=script_file,
            fix="keep one and make the others func.Blueprint objects that it registers")
        return None
    loaded.report("E0204", "%s has no FunctionApp object at its top level" % script_file, file=script_file,
                  fix=_no_app_fix(module, loaded.sdk))
    return None


def _no_app_fix(module, sdk):
    for name, value in vars(module).items():
        if isinstance(value, sdk.functions.DecoratorApi):
            return "'%s' is a Blueprint: add app = func.FunctionApp() and app.register_functions(%s)" % (name, name)
    for name, value in vars(module).items():
        kind = type(value).__module__.partition(".")[0]
        if kind in ("fastapi", "starlette", "quart"):
            return "serve '%s' with app = func.AsgiFunctionApp(app=%s)" % (name, name)
        if kind in ("flask", "bottle"):
            return "serve '%s' with app = func.WsgiFunctionApp(app=%s)" % (name, name)
    return "add app = func.FunctionApp()"


def _index(root, script_file, app, second_triggers, loaded):
    """Indexes builder by builder, so that one that the SDK refuses does not hide the others."""
    seen = {}
    for builder in app._function_builders:
        function = builder._function
        try:
            name = function.get_function_name()
        except Exception as error:
            file, line = where(function.get_user_function())
            loaded.report("E0201", "a function's settings can't be read: %s" % errors.safe_text(error),
                          file=file or script_file, line=line, fix="correct the decorators of the function")
            continue
        user_function = function.get_user_function()
        file, line = where(user_function)
        place = {"function": name, "file": file or script_file, "line": line}
        if name.lower() in seen:
            _report_duplicate(name, place, seen[name.lower()], builder, loaded)
            continue
        seen[name.lower()] = (builder, place)
        if id(function) in second_triggers:
            kinds = [function.get_trigger()] + second_triggers[id(function)]
            loaded.report("E0208", "%s has %d triggers: %s" % (
                name, len(kinds), ", ".join(str(trigger.type) for trigger in kinds)),
                fix="keep one trigger and move the others to functions of their own", **place)
            continue
        if function.get_trigger() is None:
            loaded.report("E0207", "%s has no trigger" % name,
                          fix="add one, for example @app.route() or @app.queue_trigger(…)", **place)
            continue
        declared = _declare(builder, app, name, place, script_file, loaded)
        if declared is not None:
            loaded.add(declared, user_function, os.path.dirname(os.path.join(root, declared["file"])))


def _report_duplicate(name, place, first, builder, loaded):
    first_builder, first_place = first
    if first_builder is builder:
        message = "function '%s' is registered twice" % name
        fix = "register its blueprint once"
    else:
        message = "function '%s' is declared twice; the first is in %s:%s" % (name, first_place["file"], first_place["line"])
        fix = "rename one of them, or give it @app.function_name(\"…\")"
    loaded.report("E0211", message, fix=fix, **place)


def _declare(builder, app, name, place, script_file, loaded):
    try:
        function = builder.build(app.auth_level)
        bindings = [json.loads(binding) for binding in function.get_raw_bindings()]
        retry = _retry(function.get_settings_dict("retry_policy"))
    except Exception as error:
        loaded.report("E0201", "the SDK refuses %s: %s" % (name, errors.safe_text(error)),
                      fix="correct the decorators of the function", **place)
        return None
    return {
        "name": name,
        "directory": "",
        "script_file": script_file,
        "entry_point": getattr(function.get_user_function(), "__name__", name),
        "bindings": bindings,
        "is_async": False,
        "file": place["file"],
        "line": place["line"],
        "disabled": False,
        "retry": retry,
    }


def _retry(settings):
    """The `retry` object that function.json would have."""
    if not settings:
        return None
    strategy = settings.get("strategy")
    retry = {"strategy": _STRATEGIES.get(strategy, strategy)}
    for key, name in _RETRY_KEYS.items():
        value = settings.get(key)
        if value is not None:
            retry[name] = int(value) if key == "max_retry_count" else value
    return retry


def _check_blueprints(app, loaded):
    """Warns of blueprints of the app's own modules whose functions nobody registered."""
    registered = {id(builder) for builder in app._function_builders}
    seen = set()
    for module in list(sys.modules.values()):
        file = errors.FOLDING.relative(getattr(module, "__file__", None) or "")
        if file is None:
            continue
        for name, value in list(vars(module).items()):
            if not isinstance(value, loaded.sdk.functions.DecoratorApi) or value is app or id(value) in seen:
                continue
            seen.add(id(value))
            missing = [builder for builder in value._function_builders if id(builder) not in registered]
            if missing:
                names = ", ".join(str(builder._function.get_function_name()) for builder in missing)
                place = where(missing[0]._function.get_user_function())
                file, line = (file, None) if place[0] is None else place
                loaded.report("E0206", "blueprint '%s' is not registered, so these functions don't exist: %s" % (
                    name, names), severity="warning", file=file, line=line,
                    fix="register it: app.register_functions(%s)" % name)
