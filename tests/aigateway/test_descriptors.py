"""A web process may have more sockets than many systems start it with."""

import resource
from collections.abc import Iterator

import pytest

from aigateway import descriptors


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    """What holds now, put back afterwards."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_soft_limit_is_raised_to_what_is_enough_or_allowed(limits: tuple[int, int]) -> None:
    _, hard = limits
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    raised = descriptors.allow_many()
    assert raised == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert raised == (descriptors.ENOUGH if hard == resource.RLIM_INFINITY else min(descriptors.ENOUGH, hard))


def test_what_is_higher_stays(limits: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    soft, _ = limits
    monkeypatch.setattr(descriptors, "ENOUGH", 100)
    assert descriptors.allow_many() == soft
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == soft
