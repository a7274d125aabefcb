"""Timeouts, retries and activity names, in one place. Seconds unless a name says otherwise.

A frozen or blackholed worker holds a sticky task and then a normal one: with 1 s for each, a decision is late
by 2 s at most.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio.common import RetryPolicy

TASK_TIMEOUT = timedelta(seconds=1)
CROWD_TASK_TIMEOUT = timedelta(seconds=3)
"""Where a crowd speaks with one workflow: another worker needs a while to read the history of its thousands of events,
and one that gets no time for that begins again and again."""
STICKY_TIMEOUT = timedelta(seconds=1)

PROBE_HEARTBEAT = timedelta(seconds=3)
"""A prober that is silent this long is given up, and its shard starts elsewhere."""
HEARTBEAT_EVERY = timedelta(milliseconds=800)
"""How often a heartbeat reaches the server at most."""
FRESH_S = 3.5
"""A vantage not heard from for longer has no vote: its heartbeat's timeout and half a second."""
PROBE_EPOCH = timedelta(hours=12)
PROBE_AGAIN_S = 0.3
"""Pause between epochs. Temporal's own retry would back off to half a minute of blindness."""
SILENCE = timedelta(seconds=15)
"""How long nobody may take up the probing of a shard before people are told."""

SCHEDULE_TO_START = timedelta(seconds=1)
"""A step that no worker takes up within this moves to the next queue."""
STEP_HEARTBEAT = timedelta(seconds=2)

LOOK = timedelta(milliseconds=450)
"""The local activity that reads heartbeats and routing: below half a workflow task."""
LOOK_LONGER = timedelta(seconds=10)
"""The activity that reads them for a planned move, where the steering did not answer so soon."""

GOVERNOR_ANSWERS = timedelta(milliseconds=500)
"""From the question whether a run may start to the answer; after it, nobody has counted."""

CONTINUE_AT = 500
"""History events after which an entity workflow continues as new."""

LOST_LONG = 8_000_000
"""Bytes of history after which the workflow of a lost region continues as new: some 1,500 services. Temporal ends a
workflow of 50 MB."""

ONCE = RetryPolicy(maximum_attempts=1)
PATIENT = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2.0, maximum_interval=timedelta(minutes=1)
)
"""For what is off the path: history, notifications, the publication of a topology."""

LOOK_ACTIVITY = "look"
DESCRIBE_RUN = "describe-run"
PROBE_ACTIVITY = "probe"
STEP_ACTIVITY = "step"
UNDO_ACTIVITY = "undo"
RECHECK = "recheck"
ADOPT_ACTIVITY = "adopt"
PUBLISH_TOPOLOGY = "publish-topology"
RUNNING_ENDPOINTS = "running-endpoints"
TELL = "tell"
PUBLISH = "publish"
INJECT = "inject-fault"
CLEAR = "clear-fault"
STEADY = "await-steady"
AWAIT_RUN = "await-run"
WHOSE_TURN = "whose-turn"
DRY_DECIDE = "dry-decide"
DRY_CAPACITY = "dry-capacity"
DRY_STEERING = "dry-steering"
GOVERNOR_SAYS = "governor-says"
SHADOW = "shadow"
CANARY = "put-canary"
SETTLE_SHADOW = "settle-shadow"
PROBE_SHADOW = "probe-shadow"
LEAD = "lead"
HAND_OVER = "hand-over"
LIST_INSIDE = "list-inside"
DEPART = "depart"
AWAIT_ARRIVAL = "await-arrival"
ACQUIRE_SLOT = "acquire-slot"
SETBACKS = "setbacks"
ASK_FAILBACK = "ask-failback"
