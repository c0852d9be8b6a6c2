"""Apps of `function.json` files: one module and one entry point per function."""

import importlib
import importlib.machinery
import os
import sys
import types

from . import problems
from .load import where

# The package that Azure puts around an app, so that `from ..shared import x` works.
_PACKAGE = "__app__"


def load(root, request, loaded):
    """Imports each function on its own: one that fails leaves the others alone."""
    _make_package(root)
    for function in request.get("functions") or ():
        _load_function(root, function, loaded)


def _make_package(root):
    package = types.ModuleType(_PACKAGE)
    spec = importlib.machinery.ModuleSpec(_PACKAGE, None, is_package=True)
    spec.submodule_search_locations = [root]
    package.__spec__ = spec
    package.__path__ = [root]
    sys.modules[_PACKAGE] = package


def _load_function(root, function, loaded):
    name = function["name"]
    script_file = os.path.normpath(function["script_file"])
    manifest = "%s/function.json" % (function.get("directory") or name)
    if not os.path.isfile(os.path.join(root, script_file)):
        loaded.report("E0213", "the script file %s does not exist" % script_file, function=name, file=manifest,
                      fix="create it, or correct scriptFile in function.json")
        return
    try:
        module = importlib.import_module(_module_name(script_file))
    except BaseException as error:
        loaded.problems.append(problems.import_failed(error, name, script_file))
        return
    entry_point = function.get("entry_point") or "main"
    target = getattr(module, entry_point, None)
    if not callable(target):
        what = "has no function '%s'" % entry_point if target is None else "has a '%s' that can't be called" % entry_point
        loaded.report("E0212", "%s %s" % (script_file, what), function=name, file=script_file, line=1,
                      fix="define it, or name the right one as entryPoint in function.json")
        return
    file, line = where(target)
    declared = {
        "name": name,
        "directory": function.get("directory") or "",
        "script_file": script_file,
        "entry_point": entry_point,
        "bindings": function["bindings"],
        "is_async": False,
        "file": file or script_file,
        "line": line,
        "disabled": bool(function.get("disabled", False)),
        "retry": function.get("retry"),
    }
    loaded.add(declared, target, os.path.join(root, declared["directory"]))


def _module_name(script_file):
    parts = os.path.splitext(script_file)[0].split(os.sep)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join([_PACKAGE] + parts)
