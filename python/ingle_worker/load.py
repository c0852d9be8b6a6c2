"""Loading: the app's paths, its SDK, its functions. Nothing in the app may be wrong without a word about it."""

import builtins
import functools
import inspect
import os
import re
import sys
import time
import traceback

from . import errors, extensions, problems, spool
from .plan import Problems, make_plan
from .sdk import Sdk

_IMPORTS_SHOWN_MAX = 5
_DEFINITION_LINES_MAX = 100


class Loaded:
    """What came of a `load` frame."""

    def __init__(self):
        self.sdk = None
        self.plans = {}
        self.functions = []
        self.problems = []
        self.apps = []
        # To be called in each process that serves, before its first invocation.
        self.starters = []
        # What is called when the time of an invocation is over, before the process is ended.
        self.enders = []
        self.import_ms = 0.0
        self.imports = []

    def header(self):
        """The `loaded` frame."""
        return {
            "type": "loaded",
            "functions": self.functions,
            "problems": self.problems,
            "sdk": self.sdk.version if self.sdk else None,
            "import_ms": round(self.import_ms, 3),
            "modules_max": [[name, round(seconds * 1000, 1)] for name, seconds in self.imports[:_IMPORTS_SHOWN_MAX]],
        }

    def report(self, code, message, **more):
        self.problems.append(problems.problem(code, message, **more))

    def add(self, declared, function, directory):
        """Adds one function with its plan, or says why it has none. `declared`: the fields of the frame.

        A function without a plan is in the frame too, as the server judges declarations better and knows causes of
        what is found here, e.g. that a type is misspelled. It does not serve what has an error.
        """
        self.functions.append(declared)
        try:
            plan = make_plan(self.sdk, declared["name"], function, declared["bindings"], directory)
        except Problems as found:
            for unfit in found.problems:
                self.report(unfit.code, unfit.message, function=declared["name"], file=declared["file"],
                            line=declared["line"], fix=unfit.fix)
            return
        except Exception as error:
            # Annotations and decorators can be anything. One that breaks the checks must not hide the other functions.
            self.report("E0210", "the function's signature can't be checked: %s: %s" % (
                type(error).__name__, errors.safe_text(error)), function=declared["name"], file=declared["file"],
                line=declared["line"], detail=traceback.format_exc(),
                fix="simplify the function's parameters, annotations and decorators; the traceback shows what failed")
            return
        declared["is_async"] = plan.is_async
        declared["streams"] = plan.streams
        self.plans[declared["name"]] = plan


def load(request):
    """Imports the app that a `load` frame names."""
    loaded = Loaded()
    root = os.path.abspath(request["root"])
    errors.FOLDING.root = root
    spool.SPOOL.folder = request.get("spool")
    spool.SPOOL.owner = request.get("owner", 0)
    _set_paths(root, request)
    clock = ImportClock()
    started = time.perf_counter()
    clock.start()
    try:
        os.environ.update(request.get("settings", {}))
        if request["dialect"] == "lambda":
            # Imported here, as below: handlers need nothing of Azure's.
            from . import load_lambda
            load_lambda.load(root, request, loaded)
        elif request["dialect"] == "web":
            from . import load_web
            load_web.load(root, request, loaded)
        else:
            loaded.sdk = _find_sdk(loaded)
            clock.note("azure.functions", time.perf_counter() - started)
            if loaded.sdk is not None:
                _load_app(root, request, loaded)
                extensions.attach(loaded)
    except BaseException as error:
        # A mistake of ours, or an app that is stranger than we thought. The server has to hear of it either way.
        loaded.report("E0201", "the app could not be indexed: %s: %s" % (type(error).__name__, errors.safe_text(error)),
                      detail=traceback.format_exc())
    finally:
        clock.stop()
    loaded.import_ms = (time.perf_counter() - started) * 1000
    loaded.imports = clock.slowest()
    return loaded


def _load_app(root, request, loaded):
    # Imported here: the other dialect's module is never needed.
    if request["dialect"] == "azure-v1":
        from . import load_v1 as dialect
    else:
        from . import load_v2 as dialect
    dialect.load(root, request, loaded)


def _set_paths(root, request):
    """Azure's order: the app, its packages, the environment."""
    packages = os.path.join(root, ".python_packages", "lib", "site-packages")
    front = [root] + ([packages] if os.path.isdir(packages) else [])
    sys.path[:] = front + [entry for entry in sys.path if entry and os.path.abspath(entry) not in front]
    sys.argv[:] = [os.path.join(root, request.get("script_file") or "")]
    try:
        os.chdir(root)
    except OSError:
        # The folder is gone or forbidden; what can't be imported from it is reported below.
        pass


def _find_sdk(loaded):
    try:
        sdk = Sdk()
    except ModuleNotFoundError as error:
        missing = error.name or "azure.functions"
        if missing in ("azure", "azure.functions"):
            loaded.report("E0203", "the app's environment has no azure-functions",
                          fix="add azure-functions to requirements.txt")
        else:
            loaded.problems.append(problems.import_failed(error))
        return None
    except BaseException as error:
        loaded.problems.append(problems.import_failed(error))
        return None
    errors.FOLDING.sdk = sdk.folder
    return sdk


class ImportClock:
    """Measures how long the imports of modules that were not loaded yet take, the inner ones included."""

    def __init__(self):
        self._seconds = {}
        self._original = None
        self._timed = None

    def start(self):
        original = self._original = builtins.__import__
        seconds = self._seconds
        modules = sys.modules
        clock = time.perf_counter

        def timed_import(name, globals=None, locals=None, fromlist=(), level=0):
            if level or name in modules:
                return original(name, globals, locals, fromlist, level)
            begun = clock()
            try:
                return original(name, globals, locals, fromlist, level)
            finally:
                seconds[name] = seconds.get(name, 0.0) + clock() - begun

        self._timed = timed_import
        builtins.__import__ = timed_import

    def stop(self):
        # Whoever replaced it after us keeps what they put there.
        if builtins.__import__ is self._timed:
            builtins.__import__ = self._original

    def note(self, name, seconds):
        """Adds an import that did not go through an `import` statement."""
        self._seconds[name] = seconds

    def slowest(self):
        return sorted(self._seconds.items(), key=lambda item: -item[1])


def where(function):
    """File (relative to the app) and line of a function's definition, decorators taken off; Nones if unknown."""
    target = function
    while True:
        if isinstance(target, functools.partial):
            target = target.func
        elif hasattr(target, "__wrapped__"):
            target = target.__wrapped__
        else:
            break
    if inspect.ismethod(target):
        target = target.__func__
    code = getattr(target, "__code__", None) or getattr(getattr(type(target), "__call__", None), "__code__", None)
    if code is None:
        return None, None
    relative = errors.FOLDING.relative(code.co_filename)
    if relative is None:
        return None, None
    return relative, _definition_line(code)


def _definition_line(code):
    """The line of `def`: Python says where the first decorator is."""
    import linecache

    pattern = re.compile(r"\s*(async\s+)?def\s+%s\b" % re.escape(code.co_name))
    try:
        for number in range(code.co_firstlineno, code.co_firstlineno + _DEFINITION_LINES_MAX):
            if pattern.match(linecache.getline(code.co_filename, number)):
                return number
    except (UnicodeDecodeError, SyntaxError):
        # Python runs a file with comments in another encoding, and before 3.10 its own `linecache` can't read it.
        return code.co_firstlineno
    return code.co_firstlineno
