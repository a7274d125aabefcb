"""Who keeps a distance on the way home: whoever goes beside others, and nobody who goes alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.core.decision import Go, Request
from orchestrator.core.move import Move, MoveKind, Trigger
from orchestrator.core.names import RunId
from real.scenery import AT_HOME, AWAY, EU, US, service
from real.scenery import at_home as routed
from runbooks.books import book
from runbooks.plan import Plan
from runbooks.planner import Ground, plan
from workflows.planning import crowded

ANN = Trigger("ann@laptop", "Paris is mended")
HOME = Move(service().id, MoveKind.FAILBACK, (US,), EU, AT_HOME)
ALONE = Go(HOME)
BESIDE = Go(HOME, alongside=3)


def asked(**values: str) -> Request:
    return Request(MoveKind.FAILBACK, ANN, values=tuple(sorted(values.items())))


@pytest.mark.parametrize(
    ("decided", "trigger", "request_", "keeps"),
    [
        (ALONE, ANN, asked(), False),
        (ALONE, ANN, asked(hold="5m"), False),
        (ALONE, ANN, asked(jitter="1m"), True),
        (ALONE, Trigger("automatic", "it is time"), None, True),
        (BESIDE, ANN, asked(), True),
        (Go(replace(HOME, kind=MoveKind.SWITCHOVER), alongside=3), ANN, asked(), False),
        (Go(replace(HOME, kind=MoveKind.FAILOVER), alongside=300), Trigger("automatic", "eu is down"), None, False),
    ],
    ids=["alone", "other values", "wanted", "automatic", "beside others", "a switchover", "an outage"],
)
def test_a_person_who_waits_waits_for_nothing(decided: Go, trigger: Trigger, request_: Any, keeps: bool) -> None:
    """A distance is for many, for nobody in particular, or for whoever wants one."""
    assert crowded(decided, trigger, request_) is keeps


def saved(*, apart: bool) -> Plan:
    away = replace(routed(), answer=service().endpoint(US).answer, fence=replace(routed().fence, weights=AWAY))  # type: ignore[type-var]  # there is one
    ground = Ground(service(), away, 1, crowded=apart)
    return plan(HOME, ground, run=RunId("preview"), trigger=ANN, book=book("failback"))


def test_a_saved_plan_keeps_what_it_says() -> None:
    """What people have read and kept is carried out as it stands, whoever else is on the way by then."""
    assert not crowded(BESIDE, ANN, asked(), saved(apart=False))
    assert crowded(ALONE, ANN, asked(), saved(apart=True))
