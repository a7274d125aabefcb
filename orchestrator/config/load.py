"""Reading ``failover.yaml``: text in, topology or all its mistakes out."""

from __future__ import annotations

from pathlib import Path

from orchestrator.config.build import build
from orchestrator.config.checking import check
from orchestrator.config.document import compose, read_text
from orchestrator.config.mistakes import Mistakes
from orchestrator.config.model import File
from orchestrator.config.references import references
from orchestrator.core.topology import Topology


def load(path: Path) -> Topology:
    """The topology in the file at *path*. Raises Mistakes."""
    return parse(read_text(path), str(path))


def parse(text: str, name: str) -> Topology:
    """The topology that *text* describes; *name* stands for the file in mistakes. Raises Mistakes, all at once."""
    document = compose(text, name)
    file, mistakes = check(File, document)
    found = list(document.slips)
    told = {(each.line, each.column, each.path) for each in found}
    for mistake in (*mistakes, *references(document)):
        # One value is told once, by the check nearest to the text: the rest follows from it.
        if (mistake.line, mistake.column, mistake.path) not in told:
            told.add((mistake.line, mistake.column, mistake.path))
            found.append(mistake)
    if file is None or found:
        raise Mistakes(found)
    return build(file)
