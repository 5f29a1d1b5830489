from django.apps import AppConfig


class ProvidersConfig(AppConfig):
    """OAuth providers."""

    name = "providers"
    verbose_name = "Gateway"

    def ready(self) -> None:
        """Announce changed providers and rights on them; tell the vault which secrets they use."""
        from changes import counter
        from providers import models
        from vault import registry

        counter.announce_rows_of(
            models.OAuthProvider, models.OAuthProviderUserObjectPermission, models.OAuthProviderGroupObjectPermission
        )
        registry.register_users_of_secrets(models.users_of_secrets)
