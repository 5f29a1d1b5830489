"""Celery tasks of the servers: three-line wrappers."""

import logging
import time
from uuid import UUID

from celery import shared_task
from django.contrib.auth.models import User
from django.db.models import Q

from clients import rights
from mcpservers import discovery
from mcpservers.activity import pruning
from mcpservers.dataplane import kept_sessions
from mcpservers.models import MCPServer
from mcpservers.tool_policy import schedule

logger = logging.getLogger(__name__)
# Of one turn; one more server may take as long as discovery waits.
MOST_SECONDS = 25.0


@shared_task
def discover_for_connection(user_id: int, provider_uid: str) -> None:
    """Ask every server of the provider that the user may use and that gave no answer yet, or none last."""
    user = User.objects.filter(pk=user_id).first()
    servers = MCPServer.objects.filter(auth__mode="user_oauth", provider_uid=UUID(provider_uid), enabled=True)
    unanswered = servers.exclude(~Q(tools_refreshed_at=None), discovery_error="")
    for server in rights.allowed(user, "use", unanswered) if user else ():
        _refresh(server, user_id)


@shared_task
def refresh_tools_due() -> None:
    """Ask the servers again whose answer is old, for a while; what is left is due at the next turn."""
    stop_at = time.monotonic() + MOST_SECONDS
    while time.monotonic() < stop_at and (row := schedule.claim()):
        _refresh(row.server, row.asked_as, by_itself=True)


def _refresh(server: MCPServer, user_id: int | None, *, by_itself: bool = False) -> None:
    try:
        discovery.refresh_tools(server, user_id=user_id, by_itself=by_itself)
    except discovery.DiscoveryFailed as exc:
        logger.warning("discovery failed", extra={"server": server.name, "why": str(exc)})


@shared_task
def collect_sessions() -> None:
    """Delete sessions that nobody uses any more."""
    kept_sessions.collect_idle()


@shared_task
def prune_calls() -> None:
    """Delete what was kept of calls whose days are over."""
    pruning.prune()
