from django.apps import AppConfig


class ConnectionsConfig(AppConfig):
    """Connections."""

    name = "connections"
    verbose_name = "Gateway"

    def ready(self) -> None:
        """Notice who departs; have the use of connections written in batches; count them for the floor below."""
        from clients import admin_site
        from connections import activity, census, departures, health_page, offers, service_tokens, standing, trouble
        from metrics import readings
        from providers import registry

        activity.register()
        service_tokens.register()
        departures.connect()
        registry.register_connections(census.counts)
        registry.register_scope_impact(census.never_asked_for)
        registry.register_offers(offers.offer_url)
        registry.register_standings(trouble.standings)
        readings.register(standing.readings)
        admin_site.register_page(health_page.PAGE)
