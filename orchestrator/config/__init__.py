"""``failover.yaml`` to core values: reading, mistakes with their places, findings, canonical form, schema, drafts."""

from orchestrator.config.canonical import Change, difference, digest, dump, restore
from orchestrator.config.draft import draft
from orchestrator.config.finding import Finding
from orchestrator.config.findings import findings
from orchestrator.config.load import load, parse
from orchestrator.config.mistakes import Mistake, Mistakes
from orchestrator.config.schema import reference, schema

__all__ = [
    "Change",
    "Finding",
    "Mistake",
    "Mistakes",
    "difference",
    "digest",
    "draft",
    "dump",
    "findings",
    "load",
    "parse",
    "reference",
    "restore",
    "schema",
]
