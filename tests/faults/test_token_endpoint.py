"""A token endpoint that stalls, drips, resets, fails, floods and loses its answers, on the embedded gateway.

B05, B07, B08, B09. About 20 s; the long form 5 minutes.
"""

import time

import pytest

from tests.faults import table
from tests.faults.site import TIMEOUT_SECONDS, USERS, Site, wait_until

RETRY_AFTER_SECONDS = 30 if table.IS_LONG else 4
GRANT = "rotating/user-0"


@table.rounds
@pytest.mark.threat("B07", "B09")
@pytest.mark.parametrize("mood", ["stall", "drip", "reset", "error"])
def test_a_token_endpoint_that_does_not_answer_costs_nobody_their_token(embedded: Site, mood: str) -> None:
    embedded.far.moods["rotating"] = mood
    embedded.expire(GRANT)
    embedded.make_due("rotating/user-1")
    with embedded.traffic(["user-1", "user-2"]) as traffic, embedded.traffic(["user-0"], "other") as elsewhere:
        called = embedded.call("user-0")
        again = embedded.call("user-0")
        wait_until(lambda: bool(elsewhere.calls), 5, "a call to the other provider")
        embedded.far.moods.clear()
        embedded.far.let_go()
        embedded.inside("time_passes")
        mended = time.monotonic()
        assert embedded.call("user-0").succeeded
        seconds = time.monotonic() - mended
    lost = embedded.lost()
    traffic.calls += [*elsewhere.calls, called, again]
    table.record(f"token endpoint: {mood}", lost=lost, traffic=traffic, seconds=seconds)
    assert called.status in {502, 504}
    assert called.seconds < TIMEOUT_SECONDS + 2
    assert again.seconds < 1, "the provider is left alone meanwhile"
    assert lost == []
    assert traffic.failed == [called, again], "a token that still works is used, and other providers are"
    assert max(call.seconds for call in elsewhere.calls) < TIMEOUT_SECONDS / 2 + 0.5


@table.rounds
@pytest.mark.threat("B08")
def test_a_flood_of_429_is_waited_out_by_every_user(embedded: Site) -> None:
    embedded.far.moods["rotating"] = "flood"
    embedded.far.retry_after = str(RETRY_AFTER_SECONDS)
    embedded.expire(*(f"rotating/{user}" for user in USERS[:4]))
    embedded.call(USERS[0])
    refused = embedded.far.first_asked().at
    with embedded.traffic(USERS[1:4]) as traffic:
        while time.monotonic() < refused + RETRY_AFTER_SECONDS - 0.5:
            time.sleep(0.1)
    assert len(embedded.far.asked) == 1, "nobody else asked that provider"
    embedded.far.moods.clear()
    embedded.inside("time_passes")
    mended = time.monotonic()
    assert all(embedded.call(user).succeeded for user in USERS[:4])
    lost = embedded.lost()
    table.record("token endpoint: 429", lost=lost, traffic=traffic, seconds=time.monotonic() - mended)
    assert lost == []


@table.rounds
@pytest.mark.threat("B05")
def test_an_answer_lost_on_the_way_ends_with_a_reason_that_says_so(embedded: Site) -> None:
    embedded.far.moods["rotating"] = "lose"
    embedded.expire(GRANT)
    with embedded.traffic(["user-1"]) as traffic:
        assert embedded.call("user-0").status in {502, 504}
        embedded.far.moods.clear()
        embedded.inside("time_passes")
        mended = time.monotonic()
        said = embedded.call("user-0").body
        seconds = time.monotonic() - mended
    table.record("token endpoint: rotates, drops the answer", lost=embedded.lost(), traffic=traffic, seconds=seconds)
    assert "OAuthTokenExpired" in said
    assert embedded.stored(GRANT)["reason"] == "lost_rotation"
    assert embedded.lost() == [GRANT]
    assert traffic.failed == []
    wait_until(lambda: embedded.call("user-1").succeeded, 5, "it harmed no other")
