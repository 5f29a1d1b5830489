from django.apps import AppConfig


class MetricsConfig(AppConfig):
    """Numbers."""

    name = "metrics"
    verbose_name = "Metrics"
