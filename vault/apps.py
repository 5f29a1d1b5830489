from django.apps import AppConfig


class VaultConfig(AppConfig):
    """The vault."""

    name = "vault"
    verbose_name = "Gateway"

    def ready(self) -> None:
        """Announce changed secrets and rights on them."""
        from changes import counter
        from vault import models

        counter.announce_rows_of(models.Secret, models.SecretUserObjectPermission, models.SecretGroupObjectPermission)
