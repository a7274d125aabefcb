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
    # A field that is wrong in itself is told once, without what follows from it.
    told = {(each.line, each.column) for each in mistakes}
    further = [each for each in references(document) if (each.line, each.column) not in told]
    found = (*document.slips, *mistakes, *further)
    if file is None or found:
        raise Mistakes(found)
    return build(file)
