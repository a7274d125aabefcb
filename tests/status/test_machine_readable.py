"""JSON and metrics: stable keys for scripts."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from types import ModuleType
from typing import Any

from orchestrator.core.names import ServiceId
from orchestrator.core.quorum import Verdict

UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


async def test_services_as_json(site: Any, world: Any, worlds: ModuleType) -> None:
    """/api/services lists what is wrong first, with the keys of the status, times in UTC and a verdict in words."""
    world.put(worlds.status("vision", now=worlds.utc_now(), verdicts={"us": Verdict.DOWN}))
    body = (await site.client.get("/api/services")).json()
    assert [service["service"] for service in body["services"]] == ["vision", "chat", "embed", "rerank"]
    first = body["services"][0]
    assert first["state"] == "down"
    assert first["attention"] == "bad"
    assert first["routing"]["fence"]["generation"] == 41
    assert first["endpoints"][2] == {
        "id": "us",
        "region": "aws/us-east-1",
        "role": "active",
        "url": "https://us.example.com",
        "weight": 100,
        "in_flight": None,
        "in_flight_at": None,
        "signals": "",
    }
    keys = {"endpoint", "verdict", "text", "last_good", "first_bad", "proven", "votes"}
    assert keys == set(first["assessments"][0])
    assert UTC_TIME.fullmatch(first["as_of"])
    assert UTC_TIME.fullmatch(body["now"])
    assert body["control_plane"]["reachable"] is True
    assert body["history"]["reachable"] is True


async def test_runs_as_json(site: Any) -> None:
    """/api/runs lists the newest without their timelines; /api/runs/<id> is one record with its measures."""
    runs = (await site.client.get("/api/runs")).json()["runs"]
    assert [run["run"] for run in runs][:2] == ["chat-20260301-0006", "chat-20260228-0005"]
    assert "entries" not in runs[0]
    run = (await site.client.get("/api/runs/chat-20260228-0005")).json()
    assert run["ttd_s"] == 2.31
    assert run["ttr_s"] == 5.3
    assert run["before"] == [["ap", 0], ["eu", 0], ["us", 100]]
    assert run["entries"][0]["mark"] == "last-good"
    assert datetime.fromisoformat(run["started"]).utcoffset() is not None


async def test_drills_as_json(site: Any) -> None:
    """/api/drills lists the newest drills with verdict, figures and phases."""
    drills = (await site.client.get("/api/drills")).json()["drills"]
    assert [drill["verdict"] for drill in drills] == ["passed", "failed"]
    assert drills[0] == (await site.client.get("/api/drills/weekly-2026-02-28")).json()
    assert drills[0]["phases"][2]["name"] == "failover"


async def test_metrics(site: Any, world: Any, worlds: ModuleType) -> None:
    """/metrics gives verdicts, weights, runs, drills and ages in the Prometheus text format, labels escaped."""
    odd = ServiceId('a"b\\c\nd')
    world.put(replace(worlds.status("odd", now=worlds.utc_now()), service=odd))
    answer = await site.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    endpoint = 'service="chat",endpoint="us",region="aws/us-east-1"'
    assert f'failover_endpoint_verdict{{{endpoint},verdict="healthy"}} 1' in lines
    assert f'failover_endpoint_verdict{{{endpoint},verdict="down"}} 0' in lines
    assert f"failover_endpoint_weight{{{endpoint}}} 100" in lines
    assert 'failover_source_up{source="control-plane"} 1' in lines
    assert 'failover_runs{service="chat",kind="failover",status="completed"} 1' in lines
    assert 'failover_drills{service="chat",fault="region-blackhole",verdict="failed"} 1' in lines
    assert any(line.startswith('failover_last_run_recover_seconds{service="chat"') for line in lines)
    assert 'failover_service_run_in_progress{service="a\\"b\\\\c\\nd"} 0' in lines
    sample = re.compile(r'[a-z_]+\{([a-z]+="(?:[^"\\\n]|\\["\\n])*",?)*\} [-+0-9.e]+')
    assert all(line.startswith("# ") or sample.fullmatch(line) for line in lines)
    world.away = "away"
    for _ in range(100):
        if 'failover_source_up{source="control-plane"} 0' in (await site.client.get("/metrics")).text:
            return
    raise AssertionError("the metrics never said that the control plane is away")
