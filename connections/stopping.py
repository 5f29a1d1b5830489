"""Has this Celery worker been asked to stop? What is under way may end; nothing more is begun."""

from celery.worker import state


def is_asked() -> bool:
    """Tell whether to begin nothing more. Celery notes an exit code, and 0 is one."""
    return any(flag is not None and flag is not False for flag in (state.should_stop, state.should_terminate))
