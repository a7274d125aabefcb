"""Histories of released versions replay: workers of this version go on with runs that an older one began."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from orchestrator import __version__
from orchestrator.runtime.sandbox import runner
from real.stage import WORKFLOWS
from workflows import options

HERE = Path(__file__).parent
RECORDED = sorted(HERE.glob("*/*.json"))
MACHINE = re.compile(r"/(home|root|tmp|usr|Users|work|opt)/|\d+@")


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def document_in(path: Path) -> dict[str, Any]:
    """The workflow's id, and its history as JSON."""
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def type_in(path: Path) -> str:
    """The type of the workflow whose history is in *path*."""
    first = document_in(path)["history"]["events"][0]
    return str(first["workflowExecutionStartedEventAttributes"]["workflowType"]["name"])


def texts(value: Any) -> Iterator[str]:  # JSON of any shape
    """Every string in *value*, and what payloads say."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from texts(each)
            if key == "data" and isinstance(each, str):
                yield base64.b64decode(each).decode(errors="replace")
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, str):
        yield value


def fields(value: Any) -> Iterator[tuple[str, Any]]:  # JSON of any shape
    """Every key in *value* with what it stands for."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield key, each
            yield from fields(each)
    elif isinstance(value, list):
        for each in value:
            yield from fields(each)


@pytest.mark.parametrize("path", RECORDED, ids=name_of)
async def test_a_recorded_history_replays(path: Path) -> None:
    """What an older worker did, this one would do in the same order."""
    document = document_in(path)
    history = WorkflowHistory.from_json(document["workflow"], document["history"])
    replayer = Replayer(workflows=WORKFLOWS, workflow_runner=runner(), data_converter=pydantic_data_converter)
    await replayer.replay_workflow(history)


@pytest.mark.parametrize("path", RECORDED, ids=name_of)
def test_a_recorded_history_names_no_machine(path: Path) -> None:
    """No path, host or process of the machine that recorded it is in a history."""
    found = [text for text in texts(document_in(path)) if MACHINE.search(text)]
    assert not found
    assert {value for key, value in fields(document_in(path)) if key == "identity"} == {"worker"}


def test_every_workflow_of_this_release_is_recorded() -> None:
    """This version has a history of each workflow, of each way in which a run ends, and of a service that went on."""
    mine = [path for path in RECORDED if path.parent.name == __version__]
    wanted = {"domain", "drill", "failover", "governor", "herald", "lost", "service", "topology", "turn", "watch"}
    assert {type_in(path) for path in mine} == wanted
    endings = {"failover-completed", "failover-undone", "failover-stale", "failover-cancelled", "failover-steered"}
    drills = {
        "drill-passed",
        "drill-dry",
        "drill-synthetic",
        "drill-skipped",
        "drill-aborted",
        "failover-of-drill-cold",
    }
    others = {"service-continued", "service-led", "failover-led", "watch-silent", "watch-of-drill", "shadow"}
    assert endings | drills | others <= {path.stem for path in mine}


async def test_a_changed_order_is_found() -> None:
    """A history that this version would not have written is refused: the tests above can fail."""
    path = next(path for path in RECORDED if path.stem == "failover-completed")
    document = document_in(path)
    for event in document["history"]["events"]:
        scheduled = event.get("activityTaskScheduledEventAttributes")
        if scheduled and scheduled["activityType"]["name"] == options.STEP_ACTIVITY:
            scheduled["activityType"]["name"] = options.UNDO_ACTIVITY
    history = WorkflowHistory.from_json(document["workflow"], document["history"])
    replayer = Replayer(workflows=WORKFLOWS, workflow_runner=runner(), data_converter=pydantic_data_converter)
    with pytest.raises(workflow.NondeterminismError):
        await replayer.replay_workflow(history)
