"""From what an app declares to what can be called."""

from __future__ import annotations

from typing import Any, Callable


def user_function(function: Any) -> Callable[..., Any]:
    """The plain Python function behind a decorated one, to be called with arguments of `ingle_testing.events`.

    Takes what the decorators of the v2 model leave in a module, a built `azure.functions.Function`, a module of the v1 model
    (its `main`), and a plain function, which it gives back. An `async def` function comes back as one.

    Raises TypeError for anything else.
    """
    for step in ("build", "get_user_function"):
        method = getattr(function, step, None)
        if callable(method) and not isinstance(function, type):
            function = method()
    main = getattr(function, "main", None)
    if not callable(function) and callable(main):
        function = main
    if not callable(function):
        raise TypeError("%r is no function of an app" % (function,))
    found: Callable[..., Any] = function
    return found
