from django.apps import AppConfig


class McpServersConfig(AppConfig):
    """MCP servers."""

    name = "mcpservers"
    verbose_name = "Gateway"

    def ready(self) -> None:
        """Announce changed servers and rights; tell the floors below who uses their secrets and providers."""
        from mcpservers import registration

        registration.register()
