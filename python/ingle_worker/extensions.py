"""Worker extensions: hooks of packages around the loading and the calls of functions.

An app or a package derives from `AppExtensionBase` or `FuncExtensionBase` of `azure.functions`; the SDK keeps what is
registered. For each call: hooks of the application, then of the function, the function itself, then hooks of the
function and of the application. A hook that raises is logged and changes nothing; a function that raises has no
hooks after it.
"""

import logging
import os

_SETTING = "PYTHON_ENABLE_WORKER_EXTENSIONS"
_FALSE = ("0", "false", "f", "no", "n")
# The names that Azure's worker gives these loggers: apps set levels by them.
_LOGGER = "azure_functions_worker.extension."


class Hooks:
    """The hooks around one function."""

    __slots__ = ("_function", "_application")

    def __init__(self, function, application):
        # Lists of the SDK's `AppExtensionHooks` and of each `FuncExtensionHooks` that fits; they may still grow.
        self._function = function
        self._application = application

    def loaded(self, name, directory):
        """After a function was loaded."""
        for hooks in self._function:
            _call(hooks, "post_function_load", lambda _: (name, directory))
        _call(self._application, "post_function_load_app_level", lambda _: (name, directory))

    def before(self, context, named):
        """Before a call. `named`: the arguments, which a hook may change."""
        _call(self._application, "pre_invocation_app_level", lambda logger: (logger, context, named))
        for hooks in self._function:
            _call(hooks, "pre_invocation", lambda logger: (logger, context, named))

    def after(self, context, named, result):
        """After a call that returned `result`."""
        for hooks in self._function:
            _call(hooks, "post_invocation", lambda logger: (logger, context, named, result))
        _call(self._application, "post_invocation_app_level", lambda logger: (logger, context, named, result))


def attach(loaded):
    """Gives each loaded function its hooks, and runs those that follow loading."""
    registry = getattr(getattr(loaded.sdk, "functions", None), "ExtensionMeta", None)
    if registry is None or os.environ.get(_SETTING, "").strip().lower() in _FALSE:
        return
    application = registry.get_application_hooks()
    for declared in loaded.functions:
        plan = loaded.plans.get(declared["name"])
        if plan is None:
            continue
        # An extension is registered under the first part of its file's path: the folder of a v1 function, which is
        # its name, or the file of a v2 function.
        places = {declared["name"].lower(), declared["file"].split(os.sep)[0].lower()}
        function = [hooks for hooks in map(registry.get_function_hooks, sorted(places)) if hooks is not None]
        if function or application is not None:
            plan.hooks = Hooks(function, application)
            plan.hooks.loaded(plan.name, plan.directory)


def _call(hooks, name, arguments):
    for hook in getattr(hooks, name, None) or ():
        logger = logging.getLogger(_LOGGER + hook.ext_name)
        try:
            hook.ext_impl(*arguments(logger))
        except Exception:
            logger.error("the hook %s of the extension %s failed; the function is not affected", name, hook.ext_name,
                         exc_info=True)
