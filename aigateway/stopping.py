"""How a web process ends: listening streams at once and whole, calls when they are answered or the time is over."""

import asyncio
import socket

import uvicorn

# Calls that are still under way get an answer of ours in this time, before uvicorn cancels them.
LAST_SECONDS = 1.0


class Server(uvicorn.Server):
    """uvicorn, which alone would keep streams open until the grace time is over, and then cut calls without a word."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no new connections, and end what is under way within the grace time."""
        # Loadable only once the application is.
        from mcpservers.dataplane import reviewing

        for listening in self.servers:
            listening.close()
        reviewing.end_streams()
        grace = float(self.config.timeout_graceful_shutdown or 0)
        loop = asyncio.get_running_loop()
        last = loop.call_later(max(grace - LAST_SECONDS, 0), reviewing.end_all)
        try:
            await super().shutdown(sockets)
        finally:
            last.cancel()
