"""Celery tasks of the servers: three-line wrappers."""

import logging
from uuid import UUID

from celery import shared_task

from mcpservers import discovery
from mcpservers.dataplane import kept_sessions
from mcpservers.models import MCPServer

logger = logging.getLogger(__name__)


@shared_task
def discover_for_connection(user_id: int, provider_uid: str) -> None:
    """Fill the cache of every server of the provider that was never asked, with the new connection's token."""
    for server in MCPServer.objects.filter(provider_uid=UUID(provider_uid), enabled=True, tools_refreshed_at=None):
        try:
            discovery.refresh_tools(server, user_id=user_id)
        except discovery.DiscoveryFailed as exc:
            logger.warning("discovery failed", extra={"server": server.name, "why": str(exc)})


@shared_task
def collect_sessions() -> None:
    """Delete sessions that nobody uses any more."""
    kept_sessions.collect_idle()
