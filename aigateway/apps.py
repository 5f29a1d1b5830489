from django.apps import AppConfig


class GatewayConfig(AppConfig):
    """The project itself, as an app for its commands and system checks."""

    name = "aigateway"
    verbose_name = "AI Gateway"
