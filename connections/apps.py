from django.apps import AppConfig


class ConnectionsConfig(AppConfig):
    """Connections."""

    name = "connections"
    verbose_name = "Connections"

    def ready(self) -> None:
        """Notice who departs; have the use of connections written in batches."""
        from connections import activity, departures

        activity.register()
        departures.connect()
