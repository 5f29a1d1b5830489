"""The ASGI application: the data plane and the static files in front, Django behind."""

import gc
import logging
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aigateway.settings")
django_application = get_asgi_application()

# Django must be set up before anything below loads a model.
from aigateway import lifespan, static_files, urls  # noqa: E402, F401 - or the first page would wait for its imports
from mcpservers.dataplane import app as dataplane  # noqa: E402

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]

logger = logging.getLogger(__name__)
# What a call allocates goes with it; looking for cycles after every 700 new objects cost a quarter of a call's time.
COLLECT_AFTER = (50_000, 20, 20)
IN_FRONT: dict[str, Application] = {"/mcp/v1/": dataplane.application, "/static/": static_files.application}


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one request, or the start and stop of the process."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
    else:
        # A proxy may have ended TLS: whether we are on https is told by our public address, never by the request.
        answering = _answering(scope["path"])
        if answering is django_application:
            scope = {**scope, "scheme": settings.AIGW_BASE_URL.partition(":")[0]}
        await answering(scope, receive, send)


def _answering(path: str) -> Application:
    for prefix, front in IN_FRONT.items():
        if path.startswith(prefix):
            return front
    return django_application


async def _live(receive: Receive, send: Send) -> None:
    await receive()
    phase = "startup"
    try:
        async with lifespan.running():
            # What was loaded stays: collecting garbage must not walk through all of it during a call.
            gc.collect()
            gc.freeze()
            gc.set_threshold(*COLLECT_AFTER)
            gc.enable()
            await send({"type": "lifespan.startup.complete"})
            phase = "shutdown"
            await receive()
    except ImproperlyConfigured as exc:
        await send({"type": f"lifespan.{phase}.failed", "message": f"refusing to start: {exc}"})
    except Exception:
        logger.exception("%s failed", phase)
        await send({"type": f"lifespan.{phase}.failed", "message": f"{phase} failed; the log says why"})
    else:
        await send({"type": "lifespan.shutdown.complete"})
