"""AI Gateway: wiring only. It imports the apps; no app imports it."""

from aigateway.celery import app as celery_app

__all__ = ["celery_app"]
