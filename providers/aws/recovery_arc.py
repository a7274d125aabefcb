"""Routing controls of Application Recovery Controller (ARC): switches that move traffic while a region is away.

Each routing control drives a health check of a DNS record: On, and its endpoint is answered; Off, and it is not. They
live in a cluster of five regional endpoints, of which three suffice, and any of which may be away for maintenance
(https://docs.aws.amazon.com/r53recovery/latest/dg/routing-control.update.api.html): calls go to one after another.
Reading and switching is the data plane; the control plane in us-west-2 is not asked for anything, so that the endpoints
must stand in the topology. The fence is kept in a document, beside the cluster.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from copy import copy
from dataclasses import replace

from orchestrator.core.errors import BadFence, BadInput
from orchestrator.core.steering import Routing, SteeringChange, shares_in
from orchestrator.core.topology import Answer, Shares, SteeringSpec
from providers.aws.calling import Reply, Way, region_of
from providers.aws.dials import must_be_there
from providers.base import ProviderError, Refused, ServerAnswer, Throttled, Transient
from providers.documents.places import document
from providers.fenced import FencedDial, Targets, _Stand, answer_of
from providers.fencing import checked

SERVICE = "route53-recovery-cluster"
HEDGE_S = 0.7
"""A read that has no answer for so long is asked of the next endpoint, too."""


class RoutingControls:
    """Dial: the routing controls of one control panel, which must be this service's alone. A target is a control's
    name. All of them change in one transaction.

    It may: ``route53-recovery-cluster:ListRoutingControls``, ``route53-recovery-cluster:UpdateRoutingControlStates``.
    """

    def __init__(self, spec: SteeringSpec) -> None:
        """Raises BadInput for a control panel or endpoints that are none."""
        options = dict(spec.options)
        who = f"the steering of {spec.name}"
        self._panel = options.get("control_panel", "")
        region_of(self._panel, "route53-recovery-control", f"{who}, options.control_panel")
        self._ways = ways(options, who)
        self._alive = random.choice(self._ways)  # noqa: S311 - spreads callers over the endpoints
        self.at = f"control panel {self._panel.rpartition('/')[2]}"

    async def read(self) -> Targets:
        """On is 1, Off is 0. Raises Transient, NotFound, Unauthenticated, Forbidden."""
        return _targets(await self._controls())

    async def turn(self, targets: Targets) -> None:
        """All controls in one transaction: on for who has a share. Raises Refused where a safety rule forbids it."""
        controls = await self._controls()
        wanted = must_be_there(targets, _targets(controls), self.at)
        states = {each["RoutingControlArn"]: bool(wanted.get(each["RoutingControlName"])) for each in controls}
        if all(_on(each) == states[each["RoutingControlArn"]] for each in controls):
            return
        entries = [
            {"RoutingControlArn": arn, "RoutingControlState": "On" if on else "Off"}
            for arn, on in sorted(states.items())
        ]
        await self._switch(entries)

    async def _controls(self) -> list[Reply]:
        """Asked of the endpoint that answered last, and of one more whenever no answer comes: the first word counts."""
        asked: dict[asyncio.Task[Reply], Way] = {}
        last: Transient | None = None
        try:
            for way in (*self._in_turn(), None):
                if way is not None:
                    asked[asyncio.create_task(self._listed(way))] = way
                while asked:
                    late = HEDGE_S if way is not None else None
                    done, _ = await asyncio.wait(asked, timeout=late, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        answering = asked.pop(task)
                        try:
                            controls: list[Reply] = task.result()["RoutingControls"]
                        except Transient as error:
                            last = error
                            continue
                        self._alive = answering
                        return controls
                    if way is not None:
                        break
        finally:
            for task in asked:
                task.cancel()
        raise self._nobody(last)

    async def _switch(self, entries: list[dict[str, str]]) -> None:
        """At the endpoint that has just answered, else at the others: done twice it does nothing more."""
        last: Transient | None = None
        for way in self._in_turn():
            try:
                await way.write(
                    f"switch the routing controls of {self.at}",
                    "update_routing_control_states",
                    told=self._forbidden_by_rule,
                    UpdateRoutingControlStateEntries=entries,
                )
            except Transient as error:
                last = error
                continue
            self._alive = way
            return
        raise self._nobody(last)

    async def _listed(self, way: Way) -> Reply:
        # A call that is tried once: who does not answer is followed by the next endpoint, not asked again.
        return await way.write(f"read {self.at}", "list_routing_controls", ControlPanelArn=self._panel)

    def _in_turn(self) -> tuple[Way, ...]:
        start = self._ways.index(self._alive)
        return (*self._ways[start:], *self._ways[:start])

    def _forbidden_by_rule(self, code: str, says: str) -> ProviderError | None:
        if code != "ConflictException":
            return None
        return Refused(
            f"a safety rule of ARC forbids this state of {self.at}: {says}; the fence says already what shall be: "
            "change the rule, or override it in the console, and try this step again"
        )

    def _nobody(self, last: Transient | None) -> Transient:
        kind = Throttled if isinstance(last, Throttled) else Transient
        return kind(f"none of the {len(self._ways)} endpoints of the cluster carried out: {last}")


class ArcSteering(FencedDial):
    """Steering by routing controls: a set of endpoints, evenly."""

    shares = Shares.EQUAL

    def __init__(self, spec: SteeringSpec) -> None:
        """Raises BadInput for a steering that names no control panel, no endpoints or no fence."""
        self._controls = RoutingControls(spec)
        self._spreads: tuple[Answer | None, ...] = ()
        super().__init__(spec, self._controls, document(spec))

    async def write(self, change: SteeringChange) -> Routing:
        """As ``FencedDial.write``; Refused for shares that are not even, which no switch can say."""
        spread = [percent for _, percent in shares_in(checked(change, self.spec.name).answer)]
        if max(spread) - min(spread) > 1:
            raise Refused(
                f"routing controls are on or off: {self.spec.name} cannot have {', '.join(change.answer.values)}; "
                "spread the traffic evenly, or give it to one endpoint"
            )
        writer = copy(self)
        writer._spreads = (change.was, change.answer)
        return await super(ArcSteering, writer).write(change)

    async def answers(self) -> tuple[ServerAnswer, ...]:
        """What the controls say. Health checks follow within seconds, clients by their time to live."""
        try:
            return (ServerAnswer(self._controls.at, answer_of((await self._stand()).targets)),)
        except (ProviderError, BadFence) as error:
            return (ServerAnswer(self._controls.at, None, str(error)),)

    async def _stand(self) -> _Stand:
        """Even shares of three do not sum to 100: who has the odd percent is said by the document, or by the write."""
        stand = await super()._stand()
        on = {target for target, weight in stand.targets if weight}
        for spread in (stand.meant, *self._spreads):
            percents = dict(shares_in(spread)) if spread is not None else {}
            if on == percents.keys():
                return replace(stand, targets=tuple((target, percents.get(target, 0)) for target, _ in stand.targets))
        return stand


def ways(options: dict[str, str], who: str) -> tuple[Way, ...]:
    """The ways to the cluster's endpoints. Raises BadInput for a text that names none."""
    found: list[Way] = []
    for text in options.get("endpoints", "").split():
        region, equals, address = text.partition("=")
        if not equals or not region or not address.startswith(("https://", "http://")):
            raise BadInput(f"{who}, options.endpoints: '{text}' is none; write us-east-1=https://...")
        given = {name: options.get(name, "") for name in ("profile", "role")}
        found.append(Way.of(SERVICE, {**given, "endpoint": address.rstrip("/")}, who, region=region))
    if not found:
        raise BadInput(f"{who} needs options.endpoints: the cluster's five, as 'us-east-1=https://... ...'")
    return tuple(found)


def _on(control: Reply) -> bool:
    return bool(control["RoutingControlState"] == "On")


def _targets(controls: Iterable[Reply]) -> Targets:
    return tuple(sorted((str(each["RoutingControlName"]), int(_on(each))) for each in controls))
