"""Judging a stage of a shift: the target's answers beside the source's. Pure.

No data is never a pass, and what makes an answer worse never makes the judgement better: an answer that failed
counts as endlessly slow at the target, and as instant at the source.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

ALLOWANCE_S = 0.1
"""What the target may be slower than its share of the source's time: less is noise."""
ALIKE = 2.0
"""Up to this many times the source's own errors the target is no worse than what both suffer from."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer that an endpoint was asked for."""

    good: bool
    first_s: float = 0.0
    """Until the first token, or until the answer where there are none. It says nothing of an answer that failed."""
    text: str = ""
    """What was wrong, in a phrase."""


@dataclass(frozen=True, slots=True)
class Pass:
    text: str
    """What was seen."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The target is worse than it may be: back out."""

    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inconclusive:
    """Neither: a person decides."""

    reasons: tuple[str, ...]


Judgement = Pass | Fail | Inconclusive


def judge(
    target: tuple[Sample, ...],
    source: tuple[Sample, ...] | None,
    *,
    samples: int,
    max_errors: float,
    slower: float,
    first_token_s: float | None,
) -> Judgement:
    """What *samples* answers of each say. *source* None: nothing stands beside the target, and none is compared with.

    *max_errors* is in percent of those asked; the target's median first token may be *slower* times the source's
    and ALLOWANCE_S, and at most *first_token_s*. Where the source fails alike, the cause is not the target's alone.
    """
    wanted = max(1, samples)
    theirs = _errors(source, wanted) if source else 0.0
    failed, doubts = _failing(target, source, wanted, max_errors)
    first = median([each.first_s if each.good else math.inf for each in target]) if len(target) >= wanted else math.inf
    if math.isfinite(first):
        late, unsure = _late(first, source if theirs <= max_errors else None, slower, first_token_s)
        failed += late
        doubts += unsure
    elif not failed:
        doubts.append("too few good answers of the target to say how fast it is")
    if failed:
        return Fail(tuple(failed))
    if doubts:
        return Inconclusive(tuple(doubts))
    beside = f", the source's after {_first(source):.2f} s" if source else ""
    return Pass(f"{_good(target)} of {len(target)} answers good, the first token after {first:.2f} s{beside}")


def worst(judgements: tuple[tuple[str, Judgement], ...]) -> Judgement:
    """What *judgements* of several endpoints, each with whom it is about, come to: the worst of them, and of whom.

    One that fails is enough to fail, and one that nobody can judge is enough for a doubt. None at all is no pass.
    """
    failed = [f"{who}: {'; '.join(each.reasons)}" for who, each in judgements if isinstance(each, Fail)]
    if failed:
        return Fail(tuple(failed))
    doubts = [f"{who}: {'; '.join(each.reasons)}" for who, each in judgements if isinstance(each, Inconclusive)]
    if doubts or not judgements:
        return Inconclusive(tuple(doubts) or ("nothing was asked",))
    return Pass("; ".join(f"{who}: {each.text}" for who, each in judgements if isinstance(each, Pass)))


def certain(
    target: tuple[Sample, ...], source: tuple[Sample, ...] | None, *, samples: int, max_errors: float
) -> Fail | None:
    """What is a fail already, before all answers have come; None: wait for them.

    More of the target's answers have failed than may, one alone being none to turn back for, and nothing is wrong with
    the source. While the source fails too, or lags behind, it takes the whole hold to tell whether both fail alike.
    """
    failed = len(target) - _good(target)
    doubtful = source is not None and (len(source) < len(target) or _good(source) < len(source))
    if failed < min(2, samples) or doubtful or _errors(target, max(1, samples)) <= max_errors:
        return None
    return Fail((_too_many(target, max_errors),))


def _failing(
    target: tuple[Sample, ...], source: tuple[Sample, ...] | None, wanted: int, most: float
) -> tuple[list[str], list[str]]:
    """What of the answers that failed, or never came, is too much, and what leaves a doubt."""
    doubts: list[str] = []
    if len(target) < wanted:
        doubts.append(f"{len(target)} of {wanted} answers came from the target: too few to judge by")
    if source is not None and len(source) < wanted:
        doubts.append(f"{len(source)} of {wanted} answers came from the source: too few to compare with")
    errors, theirs = _errors(target, wanted), _errors(source or (), wanted)
    if errors > most:
        said = _too_many(target, most)
        if source and theirs > most and errors <= ALIKE * theirs:
            return [], [*doubts, f"{said}; the source fails alike: {_share(source)} ({_worst(source)})"]
        return [said], doubts
    if source and theirs > most:
        doubts.append(f"{_share(source)} answers of the source failed ({_worst(source)}): nothing to compare with")
    return [], doubts


def _late(
    first: float, source: tuple[Sample, ...] | None, slower: float, longest: float | None
) -> tuple[list[str], list[str]]:
    """What is too late, and what cannot be said of it."""
    late: list[str] = []
    if longest is not None and first > longest:
        late.append(f"the target's first token takes {first:.2f} s, and {longest:g} s are allowed")
    if not source:
        return late, []
    theirs = _first(source)
    if theirs <= 0.0:
        return late, ["too few good answers of the source to say how fast it is"]
    if first > slower * theirs + ALLOWANCE_S:
        limit = slower * theirs + ALLOWANCE_S
        late.append(
            f"the target's first token takes {first:.2f} s and the source's {theirs:.2f} s; up to {limit:.2f} s is "
            "allowed beside it"
        )
    return late, []


def _first(samples: tuple[Sample, ...]) -> float:
    """The source's median; 0 where half of it failed."""
    times = [each.first_s if each.good else 0.0 for each in samples]
    # Between an answer and none there is no median: half of it would be a time that nobody has measured.
    return 0.0 if 2 * _good(samples) <= len(samples) else median(times)


def _good(samples: tuple[Sample, ...]) -> int:
    return sum(each.good for each in samples)


def _errors(samples: tuple[Sample, ...], wanted: int) -> float:
    """Percent that failed, of *wanted* at least: those that have not come may all be good."""
    return 100.0 * (len(samples) - _good(samples)) / max(len(samples), wanted)


def _too_many(target: tuple[Sample, ...], most: float) -> str:
    return f"{_share(target)} answers of the target failed ({_worst(target)}), and {most:g} % may"


def _share(samples: tuple[Sample, ...]) -> str:
    return f"{len(samples) - _good(samples)} of {len(samples)}"


def _worst(samples: tuple[Sample, ...]) -> str:
    """What went wrong most often."""
    said = [each.text or "no reason given" for each in samples if not each.good]
    return max(sorted(set(said)), key=said.count)
