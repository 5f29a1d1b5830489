"""The real servers of the demo, started once for all tests of this folder."""

from collections.abc import Iterator

import pytest

from aigateway.demo.farside import FarSide, start_far_side
from aigateway.demo.processes import ProcessTree

REDIRECT_URI = "http://127.0.0.1:9/oauth/v1/callback/demo"


@pytest.fixture(scope="session")
def far_side(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarSide]:
    folder = tmp_path_factory.mktemp("far-side")
    with ProcessTree(folder / "logs", say=lambda line: None) as tree:
        yield start_far_side(tree, folder, redirect_uris=[REDIRECT_URI], access_token_seconds=3)
        assert tree.ended() == []
    logs = "".join(log.read_text() for log in (folder / "logs").iterdir())
    assert "Traceback" not in logs
