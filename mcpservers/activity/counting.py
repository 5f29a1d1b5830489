"""Finished calls to numbers, many at a time: what is added up beforehand costs the call path nothing."""

from collections import Counter
from collections.abc import Sequence

from mcpservers.activity.finished import FinishedCall
from metrics import catalog


def count(calls: Sequence[FinishedCall]) -> None:
    """Add calls to the instruments."""
    for outcome, number in Counter(call.outcome for call in calls).items():
        catalog.calls.count(outcome, by=number)
    for rung, number in Counter(call.rung for call in calls if call.rung).items():
        catalog.consent_offers.count(rung, by=number)
    catalog.call_bytes.count("in", by=sum(call.bytes_in for call in calls))
    catalog.call_bytes.count("out", by=sum(call.bytes_out for call in calls))
    for call in calls:
        if call.is_listening:
            continue
        catalog.call_seconds.observe(call.own_milliseconds / 1000)
        if call.upstream_milliseconds:
            catalog.upstream_seconds.observe(call.upstream_milliseconds / 1000)
