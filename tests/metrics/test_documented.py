"""Operators find every metric in docs/operations.md, and nothing there that does not exist."""

import re
from pathlib import Path

from connections import standing
from metrics.instruments import Counter, Instrument, registered

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text()


def exposed(instrument: Instrument) -> str:
    return f"{instrument.name}_total" if isinstance(instrument, Counter) else instrument.name


def test_the_table_names_every_metric_and_its_labels(db: None) -> None:
    rows = re.findall(r"^\| (`aigw_.*?) \|", TEXT, re.MULTILINE)
    documented = {name: labels for row in rows for name, labels in re.findall(r"`(aigw_\w+)(?:\{(\w+)\})?`", row)}
    wanted = {exposed(each): ",".join(each.label_names) for each in registered.values()}
    wanted |= {reading.name: reading.label for reading in standing.readings()}
    assert documented == {**wanted, "aigw_database_up": ""}


def test_the_alerts_ask_for_what_there_is(db: None) -> None:
    asked = set(re.findall(r"aigw_\w+", TEXT.partition("groups:")[2].partition("```")[0]))
    names = {exposed(each) for each in registered.values()} | {reading.name for reading in standing.readings()}
    assert {re.sub("_(count|bucket)$", "", name) for name in asked} <= names | {"aigw_database_up"}
    assert len(asked) >= 6
