from django.apps import AppConfig


class ConnectionsConfig(AppConfig):
    """Connections."""

    name = "connections"
    verbose_name = "Gateway"

    def ready(self) -> None:
        """Notice who departs; have the use of connections written in batches; count them for the floor below."""
        from connections import activity, census, departures, offers
        from providers import registry

        activity.register()
        departures.connect()
        registry.register_connections(census.counts)
        registry.register_scope_impact(census.never_asked_for)
        registry.register_offers(offers.offer_url)
