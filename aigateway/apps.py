from django.apps import AppConfig


class GatewayConfig(AppConfig):
    """The project itself, as an app for its commands and system checks."""

    name = "aigateway"
    verbose_name = "AI Gateway"

    def ready(self) -> None:
        """Register the system checks."""
        from aigateway import checks  # noqa: F401
