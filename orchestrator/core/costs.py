"""What readiness costs, and what a move adds: replicas by the price sheet. Pure."""

from __future__ import annotations

from orchestrator.core.names import EndpointId
from orchestrator.core.topology import Endpoint, Role, Service


def standing(service: Service) -> str:
    """``standing by costs 8.20 USD an hour``; empty where no price is known, or nothing stands by."""
    waits = [each for each in service.endpoints if each.role is Role.STANDBY and each.workload is not None]
    priced = [(each, cost) for each in waits if (cost := _cost(each, serving=False)) is not None]
    if not priced:
        return ""
    unknown = sorted(each.id for each in waits if _cost(each, serving=False) is None)
    left_out = f", without {' and '.join(unknown)}, which no price is known of" if unknown else ""
    return f"standing by costs {_sum(priced)} an hour{left_out}"


def serving(service: Service, gaining: tuple[EndpointId, ...]) -> str:
    """``12.30 USD an hour more while ohio serves``: what promoting those costs beyond their standing by; empty where
    that is not known of all of them, or is nothing."""
    found = [each for each in service.endpoints if each.id in gaining and each.workload is not None]
    more = []
    for each in found:
        high, low = _cost(each, serving=True), _cost(each, serving=False)
        if high is None or low is None:
            return ""
        more.append((each, high - low))
    if not any(cost for _, cost in more):
        return ""
    return f"{_sum(more)} an hour more while {' and '.join(each.id for each, _ in more)} serves"


def told(service: Service, gaining: tuple[EndpointId, ...] = ()) -> str:
    """Both in one phrase; empty where nothing is known."""
    return "; ".join(filter(None, (standing(service), serving(service, gaining))))


def _cost(endpoint: Endpoint, *, serving: bool) -> float | None:
    """Per hour, with the replicas that it has while it serves, or while it waits."""
    workload = endpoint.workload
    if workload is None or workload.per_hour is None:
        return None
    return workload.per_hour * (workload.serving if serving else workload.standby)


def _sum(costs: list[tuple[Endpoint, float]]) -> str:
    """By currency: a sheet has one, and a topology that was pieced together may have two."""
    by: dict[str, float] = {}
    for endpoint, cost in costs:
        currency = endpoint.workload.currency if endpoint.workload is not None else ""
        by[currency] = by.get(currency, 0.0) + cost
    return " and ".join(f"{cost:.2f} {currency}".strip() for currency, cost in sorted(by.items()))
