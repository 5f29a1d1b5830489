"""Children wait at the gate: they go on at the parent's word, and end when it can no longer come."""

import os
from collections.abc import Iterator

import pytest

from aigateway.gate import Gate, pass_through


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.close()


def test_as_many_pass_as_were_let_through(gate: Gate) -> None:
    gate.open(2)
    pass_through(os.dup(gate.descriptor))
    pass_through(os.dup(gate.descriptor))
    gate.close()


def test_a_child_ends_when_the_parent_is_gone_without_a_word(gate: Gate) -> None:
    inherited = os.dup(gate.descriptor)
    gate.close()
    with pytest.raises(SystemExit) as ended:
        pass_through(inherited)
    assert ended.value.code == 0


def test_the_word_of_another_child_is_not_taken(gate: Gate) -> None:
    gate.open(1)
    pass_through(os.dup(gate.descriptor))
    inherited = os.dup(gate.descriptor)
    gate.close()
    with pytest.raises(SystemExit):
        pass_through(inherited)


def test_nobody_inherits_the_end_that_opens() -> None:
    before = {int(name) for name in os.listdir("/proc/self/fd")}
    gate = Gate()
    made = {int(name) for name in os.listdir("/proc/self/fd") if int(name) not in before}
    try:
        kept = [number for number in made if os.path.exists(f"/proc/self/fd/{number}") and os.get_inheritable(number)]
        assert kept == []
    finally:
        gate.close()
