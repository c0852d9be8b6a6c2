"""The lifespan of an ASGI app that the SDK's `AsgiFunctionApp` wraps: one start before its first request.

The SDK starts it in the first request and looks only afterwards whether another request has done so meanwhile; with
requests that come together it would start several times.
"""

import asyncio


def start_once(app):
    """Lets all first requests of an `AsgiFunctionApp` wait for the same start. Leaves other apps alone."""
    middleware = getattr(app, "middleware", None)
    original = getattr(middleware, "notify_startup", None)
    if original is None:
        return
    starting = None

    async def notify_startup():
        nonlocal starting
        if starting is None:
            starting = asyncio.ensure_future(original())
        mine = starting
        succeeded = False
        try:
            # A request that is cancelled does not take the start of the others with it.
            succeeded = await asyncio.shield(mine)
        finally:
            if not succeeded and mine.done() and starting is mine:
                # The next request tries again, from the beginning.
                starting = None
                middleware.lifespan_receive_queue = None
                middleware.lifespan_startup_event = None
                middleware.lifespan_shutdown_event = None
        return succeeded

    middleware.notify_startup = notify_startup
