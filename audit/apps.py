from django.apps import AppConfig


class AuditConfig(AppConfig):
    """The append-only trail."""

    name = "audit"
    verbose_name = "Audit"
