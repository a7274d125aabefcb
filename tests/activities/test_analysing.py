"""A stage that brings traffic to several endpoints: each is asked beside the source, and the worst counts."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import pytest

from orchestrator.core.names import Domain, EndpointId, RunId, ServiceId
from orchestrator.core.probe import Outcome, OutcomeKind
from orchestrator.core.topology import ProbeKind, ProbeSpec, Workload
from providers import registry
from providers.base import Capacity, Inconclusive, Refused
from runbooks.plan import Analyse, Analysis, Gainer, Place, Room
from workflows.activities.verbs import Verbs
from workflows.wire import StepResult, StepTask

SPEC = ProbeSpec("http", ProbeKind.HTTP, 1.0, 0.5)
HOLD_S = 0.2


def place(name: str) -> Place:
    return Place(EndpointId(name), f"http://{name}", "chat.example", Domain(f"cloud/{name}"), (SPEC,))


US, AP, EU = place("us"), place("ap"), place("eu")


@dataclass
class Endpoints:
    """Three endpoints behind one prober: each answers well and at once, unless it is said otherwise."""

    broken: set[str] = field(default_factory=set)
    slow: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    asked: Counter[str] = field(default_factory=Counter)

    async def ask(self, spec: ProbeSpec, url: str, *, name: str, fresh: bool = False) -> Outcome:
        who = url.removeprefix("http://")
        self.asked[who] += 1
        if who in self.silent:
            await asyncio.Event().wait()
        if who in self.broken:
            return Outcome(OutcomeKind.FAILED, 0.01, "status 503")
        return Outcome(OutcomeKind.PASSED, 2.0 if who in self.slow else 0.05)


async def looked(endpoints: Endpoints, work: Analyse, timeout_s: float = 30.0 + HOLD_S) -> StepResult:
    task = StepTask(ServiceId("chat"), "chat.example", RunId("chat-1"), "shift.10.hold", work, timeout_s)
    return await Verbs(endpoints, lambda *_: None).do(task)


BOTH = Analyse(US, EU, HOLD_S, Analysis(samples=4), others=(Gainer(AP),))


async def test_all_that_gain_are_asked_and_the_source_once() -> None:
    """Two gain: both are asked as often as the source, and the record says of each what was seen."""
    endpoints = Endpoints()
    result = await looked(endpoints, BOTH)
    seen = "4 of 4 answers good, the first token after 0.05 s, the source's after 0.05 s"
    assert result.text == f"us beside eu: {seen}; ap beside eu: {seen}"
    assert endpoints.asked == Counter({"us": 4, "ap": 4, "eu": 4})


@pytest.mark.parametrize("ill", ["us", "ap"])
async def test_one_of_them_that_fails_backs_out_and_is_named(ill: str) -> None:
    """Either's errors are enough, found before the hold is over; the other one is not blamed."""
    with pytest.raises(
        Refused, match=rf"^{ill} beside eu: \d of \d answers of the target failed \(status 503\), and 0 %"
    ):
        await looked(Endpoints(broken={ill}), BOTH)


async def test_one_of_them_that_is_slow_backs_out_and_is_named() -> None:
    """All answers are right, and those of the second endpoint take many times as long as the source's."""
    with pytest.raises(
        Refused, match=r"^ap beside eu: the target's first token takes 2\.00 s and the source's 0\.05 s"
    ):
        await looked(Endpoints(slow={"ap"}), BOTH)


async def test_one_of_them_that_is_silent_is_no_pass() -> None:
    """No data of one is not made up for by the other's: a person is asked, and told whose answers did not come."""
    with pytest.raises(Inconclusive, match=r"^ap beside eu: 0 of 4 answers came from the target") as caught:
        await looked(Endpoints(silent={"ap"}), BOTH, timeout_s=1.2)
    assert "us beside" not in str(caught.value)


async def test_a_fail_outweighs_a_doubt() -> None:
    """One is silent and the other too slow: the stage goes back, and does not wait for somebody to look."""
    with pytest.raises(Refused, match=r"^us beside eu: the target's first token"):
        await looked(Endpoints(slow={"us"}, silent={"ap"}), BOTH, timeout_s=1.2)


@dataclass
class Replicas:
    """Who counts replicas: as many as are there."""

    ready: dict[str, int]
    about: str = ""

    async def read(self) -> Capacity:
        count = self.ready[self.about]
        return Capacity(count, count)


async def test_each_needs_its_own_replicas(monkeypatch: pytest.MonkeyPatch) -> None:
    """us has come back whole, ap in part: nothing more comes, and the sentence says which of them is short."""
    ready = {"us": 3, "ap": 1}
    monkeypatch.setattr(registry, "workload", lambda workload: Replicas(ready, workload.target))

    def room(name: str) -> Room:
        return Room(Workload("local", name, 3, 1), 2, 50)

    work = Analyse(US, None, 0.1, None, room("us"), (Gainer(AP, room("ap")),))
    with pytest.raises(Inconclusive, match=r"50 % of the move needs 2 ready replicas of ap: 1 is ready; have it tried"):
        await looked(Endpoints(), work, timeout_s=1.0)
    ready["ap"] = 2
    result = await looked(Endpoints(), work)
    assert result.text == (
        "held for 0.1 s; us: 3 replicas are ready, and 50 % needs 2; ap: 2 replicas are ready, and 50 % needs 2"
    )
