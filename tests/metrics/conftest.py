"""Numbers that start from nothing."""

from collections.abc import Iterator

import pytest

from metrics import exposition, history
from metrics.instruments import registered


@pytest.fixture(autouse=True)
def nothing_counted() -> Iterator[None]:
    """Start every test at zero."""
    for instrument in registered.values():
        instrument.reset()
    history.forget()
    exposition.reader.forget()
    yield
    exposition.reader.forget()
