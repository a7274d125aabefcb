"""Steering by the traffic split of a Cloud Run service: how requests are spread over its revisions.

The fence is an annotation of the same service, so that one update compares and sets both, by the service's etag. What
Cloud Run accepts it carries out within seconds to minutes; ``answers`` tells what it has come to.
"""

from __future__ import annotations

from google.cloud import run_v2

from orchestrator.core.steering import Routing, SteeringChange, decode, encode, shares_in, shares_of
from orchestrator.core.topology import Answer, SteeringSpec
from providers.base import NotFound, ProviderError, ServerAnswer
from providers.gcp.run_service import RunService
from providers.gcp.session import Access, required
from providers.gcp.tagged import TaggedSteering

FENCE = "failover/fence"
"""The annotation. Cloud Run takes none under run.googleapis.com, cloud.googleapis.com and Knative's names."""
_BY_NAME = run_v2.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
_LATEST = run_v2.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST

Split = list[run_v2.TrafficTarget] | list[run_v2.TrafficTargetStatus]


class CloudRunSteering(TaggedSteering[run_v2.Service]):
    """The Steering of one service by its revisions."""

    def __init__(self, spec: SteeringSpec) -> None:
        """Raises BadInput for a specification without its options. Credentials are looked for at use, not here."""
        project, region, service = required(spec.options, "project", "region", "service", of="steering by cloud-run")
        self._service = RunService(project, region, service, Access.of(spec.options))
        super().__init__(spec, self._service.at, f"annotation {FENCE} of {self._service.at}")

    async def look(self) -> run_v2.Service:
        """The service as it stands."""
        return await self._service.read()

    def routing(self, thing: run_v2.Service) -> Routing:
        """The split that is wanted, under the annotation's fence."""
        text = thing.annotations.get(FENCE)
        # Without any split all requests go to the latest revision.
        split = list(thing.traffic) or [run_v2.TrafficTarget(type_=_LATEST, percent=100)]
        return Routing(_answer(split, thing), self.spec.ttl_s, decode(text) if text else None)

    async def send(self, thing: run_v2.Service, change: SteeringChange) -> None:
        """One update of split and annotation, by the etag."""
        await self._object_to_missing(change.answer, thing)
        thing.traffic = spread(thing, change.answer)
        thing.annotations[FENCE] = encode(change.fence)
        await self._service.update(thing, "annotations", "traffic")

    async def answers(self) -> tuple[ServerAnswer, ...]:
        """How Cloud Run spreads requests now, which follows what is wanted. Never raises for its silence."""
        try:
            service = await self._service.read()
            return (ServerAnswer(self.at, _answer(list(service.traffic_statuses), service)),)
        except ProviderError as error:
            return (ServerAnswer(self.at, None, str(error)),)

    async def _object_to_missing(self, answer: Answer, service: run_v2.Service) -> None:
        """Cloud Run accepts a split over revisions that it does not have, and then fails to carry it out."""
        serving = {_name(each, service) for each in service.traffic_statuses if each.percent}
        for revision, _ in shares_in(answer):
            if revision not in serving and not await self._service.has(revision):
                raise NotFound(f"{self.at} has no revision {revision}; mend the endpoint's target, or deploy it again")


def spread(service: run_v2.Service, answer: Answer) -> list[run_v2.TrafficTarget]:
    """The split that *answer* means: revisions by name, and every tag where it was, so that its address stays good.

    A revision without a tag and without a share is left out: named with 0 it would keep its own minimum of instances.
    """
    wanted = dict(shares_in(answer))
    split = [
        run_v2.TrafficTarget(
            type_=each.type_,
            revision=each.revision,
            tag=each.tag,
            percent=0 if each.type_ == _LATEST else wanted.pop(each.revision, 0),
        )
        for each in service.traffic
        if each.tag
    ]
    return split + [
        run_v2.TrafficTarget(type_=_BY_NAME, revision=revision, percent=percent)
        for revision, percent in sorted(wanted.items())
    ]


def _answer(split: Split, service: run_v2.Service) -> Answer | None:
    """The shares of *split*; None where nothing gets traffic."""
    sums: dict[str, int] = {}
    for each in split:
        name = _name(each, service)
        sums[name] = sums.get(name, 0) + each.percent
    answer = shares_of(tuple(sorted(sums.items())))
    return answer if answer.values else None


def _name(each: run_v2.TrafficTarget | run_v2.TrafficTargetStatus, service: run_v2.Service) -> str:
    """The revision that gets this part: for the latest, the one that is the latest now."""
    if each.revision and each.type_ != _LATEST:
        return str(each.revision)
    return str(service.latest_ready_revision).rpartition("/")[2]
