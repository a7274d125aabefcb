"""What is seen, in the Prometheus text format 0.0.4 (prometheus.io, "Text-based format")."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from orchestrator.core.quorum import Verdict
from orchestrator.history.merge import is_closed
from orchestrator.status.pane import Seen, Source

TYPE = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[dict[str, str], float]


def exposition(seen: Seen) -> str:
    """All metrics of *seen*; a family without samples is left out."""
    families = (
        ("failover_source_up", "Whether the control plane or the history answered just now.", _up(seen)),
        ("failover_source_age_seconds", "Age of what is shown of the control plane or the history.", _ages(seen)),
        ("failover_endpoint_verdict", "1 for the verdict an endpoint has now.", _verdicts(seen)),
        ("failover_endpoint_weight", "Share of traffic, 0 to 100, by the routing last read.", _weights(seen)),
        ("failover_endpoint_in_flight", "Most requests in flight within a minute, by its own count.", _loads(seen)),
        ("failover_service_run_in_progress", "1 while a run holds the service.", _per_service(seen, "run")),
        ("failover_service_question", "1 while a question waits for a person.", _per_service(seen, "question")),
        ("failover_service_held", "1 while something forbids automation to act.", _per_service(seen, "held")),
        ("failover_service_paused", "1 while a person has paused automation.", _per_service(seen, "paused")),
        ("failover_runs", "Runs in the history by how they ended.", _runs(seen)),
        ("failover_drills", "Drills in the history by verdict.", _drills(seen)),
        ("failover_last_run_detect_seconds", "Time to detect of the newest closed run.", _last_run(seen, "ttd_s")),
        ("failover_last_run_recover_seconds", "Time to recover of the newest closed run.", _last_run(seen, "ttr_s")),
        ("failover_last_run_objective_seconds", "Its recovery time objective.", _last_run(seen, "objective_s")),
        ("failover_last_run_age_seconds", "Time since the newest closed run began.", _last_run_age(seen)),
        ("failover_last_drill_age_seconds", "Time since the newest drill began.", _last_drill_age(seen)),
    )
    lines: list[str] = []
    for name, text, samples in families:
        written = [f"{name}{_labels(labels)} {value:g}" for labels, value in samples]
        if written:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge", *written]
    return "\n".join(lines) + "\n"


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _sources(seen: Seen) -> Iterable[tuple[str, Source]]:
    return (("control-plane", seen.control), ("history", seen.history))


def _up(seen: Seen) -> Iterator[Sample]:
    for name, source in _sources(seen):
        yield {"source": name}, float(source.at is not None and not source.away)


def _ages(seen: Seen) -> Iterator[Sample]:
    for name, source in _sources(seen):
        if source.at is not None:
            yield {"source": name}, (seen.now - source.at).total_seconds()


def _verdicts(seen: Seen) -> Iterator[Sample]:
    for status in seen.statuses:
        found = {assessment.endpoint: assessment.verdict for assessment in status.assessments}
        for brief in status.endpoints:
            for verdict in Verdict:
                labels = {"service": status.service, "endpoint": brief.id, "region": brief.region}
                yield labels | {"verdict": verdict.value}, float(found.get(brief.id, Verdict.UNKNOWN) is verdict)


def _weights(seen: Seen) -> Iterator[Sample]:
    for status in seen.statuses:
        for brief in status.endpoints:
            if brief.weight is not None:
                yield {"service": status.service, "endpoint": brief.id, "region": brief.region}, float(brief.weight)


def _loads(seen: Seen) -> Iterator[Sample]:
    for status in seen.statuses:
        for brief in status.endpoints:
            if brief.in_flight is not None:
                labels = {"service": status.service, "endpoint": brief.id, "region": brief.region}
                yield labels, float(brief.in_flight)


def _per_service(seen: Seen, what: str) -> Iterator[Sample]:
    for status in seen.statuses:
        yield {"service": status.service}, float(bool(getattr(status, what)))


def _runs(seen: Seen) -> Iterator[Sample]:
    for tally in seen.kept.run_tallies:
        yield {"service": tally.service, "kind": tally.kind, "status": tally.status}, float(tally.count)


def _drills(seen: Seen) -> Iterator[Sample]:
    for tally in seen.kept.drill_tallies:
        yield {"service": tally.service, "fault": tally.kind, "verdict": tally.status}, float(tally.count)


def _last_run(seen: Seen, measure: str) -> Iterator[Sample]:
    told: set[str] = set()
    for record in seen.records():
        value = getattr(record, measure)
        if is_closed(record) and record.service not in told and value is not None:
            told.add(record.service)
            yield {"service": record.service, "run": record.run, "kind": record.kind.value}, value


def _last_run_age(seen: Seen) -> Iterator[Sample]:
    told: set[str] = set()
    for record in seen.records():
        if is_closed(record) and record.service not in told:
            told.add(record.service)
            yield {"service": record.service}, (seen.now - record.started).total_seconds()


def _last_drill_age(seen: Seen) -> Iterator[Sample]:
    told: set[str] = set()
    for report in seen.kept.drills:
        if report.service not in told:
            told.add(report.service)
            yield {"service": report.service, "verdict": report.verdict}, (seen.now - report.started).total_seconds()
