from django.apps import AppConfig


class ChangesConfig(AppConfig):
    """One counter for the whole gateway."""

    name = "changes"
