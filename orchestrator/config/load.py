"""Reading ``failover.yaml``: text in, topology or all its mistakes out."""

from __future__ import annotations

from pathlib import Path

from orchestrator.config.books import checked_books
from orchestrator.config.build import build
from orchestrator.config.checking import check
from orchestrator.config.document import compose, read_text
from orchestrator.config.mistakes import Mistakes
from orchestrator.config.model import File
from orchestrator.config.prices import checked_prices, priced
from orchestrator.config.references import references
from orchestrator.core.topology import Topology


def load(path: Path) -> Topology:
    """The topology in the file at *path*, and its own runbooks beside it. Raises Mistakes."""
    return parse(read_text(path), str(path), beside=path.parent)


def parse(text: str, name: str, beside: Path = Path()) -> Topology:
    """The topology that *text* describes. Raises Mistakes, all at once.

    *name* stands for the file in mistakes; a directory of own runbooks is looked for in *beside*.
    """
    document = compose(text, name)
    file, mistakes = check(File, document)
    found = list(document.slips)
    told = {(each.file, each.line, each.column, each.path) for each in found}
    books, misread = checked_books(document, beside)
    sheet, mispriced = checked_prices(document, beside)
    for mistake in (*mistakes, *references(document), *misread, *mispriced):
        # One value is told once, by the check nearest to the text: the rest follows from it.
        place = (mistake.file, mistake.line, mistake.column, mistake.path)
        if place not in told:
            told.add(place)
            found.append(mistake)
    if file is None or found:
        raise Mistakes(found)
    return priced(build(file, books), sheet)
