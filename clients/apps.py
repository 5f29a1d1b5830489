from django.apps import AppConfig


class ClientsConfig(AppConfig):
    """Who is calling."""

    name = "clients"
    verbose_name = "Access"

    def ready(self) -> None:
        """Announce changes of users, groups, rights and tokens to every process."""
        from clients import announcements

        announcements.connect()
