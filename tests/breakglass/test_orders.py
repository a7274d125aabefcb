"""Break-glass obeys what the topology says for every service, and uses its own runbooks."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from orchestrator.config import load
from orchestrator.core.decision import Request
from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.names import EndpointId
from orchestrator.core.quorum import Assessment, Verdict
from orchestrator.core.steering import Fence, Routing, answer_for, full
from orchestrator.core.topology import Topology
from orchestrator.runtime.breakglass.ahead import Seen, Unplanned, plan_here
from runbooks.plan import Plan

NOW = datetime(2026, 3, 1, 2, 15, tzinfo=UTC)
US, EU = EndpointId("us"), EndpointId("eu")
OWN = """\
apiVersion: failover/v1
kind: Runbook
metadata: {name: ours}
steps:
  - {id: ours, type: steer}
"""
FILE = """\
apiVersion: failover/v1
kind: Topology
regions: [aws/us-east-1, onprem/fra1]
jurisdictions: {aws: us, onprem: eu}
runbooks: books
services:
  - id: chat
    name: chat.example.com
    endpoints:
      - {id: us, url: "https://us.example.com", answer: [192.0.2.1], region: aws/us-east-1, role: active, capacity: 9}
      - {id: eu, url: "https://eu.example.com", answer: [192.0.2.2], region: onprem/fra1, role: standby, capacity: 9}
    steering: {provider: rfc2136, zone: example.com, ttl: 10s, primary: 192.0.2.53}
    policy: {capacity: 5, residency: [us], runbooks: {planned: ours}}
"""


def topology(folder: Path, text: str = FILE) -> Topology:
    (folder / "books").mkdir(exist_ok=True)
    (folder / "books" / "ours.yaml").write_text(OWN, encoding="utf-8")
    (folder / "failover.yaml").write_text(text, encoding="utf-8")
    return load(folder / "failover.yaml")


def planned(found: Topology, *overrides: str) -> Plan | Unplanned:
    """What comes of asking for *eu* while both endpoints answer and *us* has the traffic."""
    (service,) = found.services
    weights = full(service.endpoints, US)
    routing = Routing(answer_for(service.endpoints, weights), 10, Fence(3, "run-1", "steer", weights))
    seen = tuple(Assessment(each.id, Verdict.HEALTHY, "answers", NOW, None, True) for each in service.endpoints)
    request = Request(MoveKind.SWITCHOVER, Trigger("ann", "a test", overrides), EU)
    return plan_here(found, service.id, request, Seen(seen, routing, ""), now=NOW)


def test_residency_holds_without_temporal(tmp_path: Path) -> None:
    """A laptop does not move data to where the control plane would not, not even by override."""
    for overrides in ((), ("residency",)):
        refused = planned(topology(tmp_path), *overrides)
        assert isinstance(refused, Unplanned)
        assert [reason.rule for reason in refused.reasons] == ["residency"]


def test_a_freeze_holds_without_temporal(tmp_path: Path) -> None:
    """A planned move waits for the end of the window on a laptop too, unless its name is given."""
    window = "freeze: [{from: 2026-03-01T00:00:00Z, to: 2026-03-02T00:00:00Z, reason: audit}]\nservices:"
    text = FILE.replace("services:", window, 1).replace("residency: [us], ", "")
    refused = planned(topology(tmp_path, text))
    assert isinstance(refused, Unplanned)
    assert [reason.rule for reason in refused.reasons] == ["freeze"]
    made = planned(topology(tmp_path, text), "freeze")
    assert isinstance(made, Plan)
    assert [each.rule for each in made.objections] == ["freeze"]


def test_own_runbooks_are_there_without_temporal(tmp_path: Path) -> None:
    """The runbook beside the file is the one that is carried out."""
    made = planned(topology(tmp_path, FILE.replace("residency: [us]", "residency: [eu]")))
    assert isinstance(made, Plan)
    assert (made.runbook, [step.id for step in made.steps]) == ("ours", ["ours"])
