"""A failover pair of Route 53 that an object in S3 switches: traffic moves, and no control plane of Route 53 is asked.

Set up beforehand, once: a PRIMARY and a SECONDARY failover record of the name, and on the PRIMARY an *inverted* health
check that fetches the object. Where the object is, the check fails, and clients are given the secondary; where it is
not, or where S3 does not answer, they are given the primary: a lost S3 moves nobody away from there. Health checkers
run in many regions and belong to the data plane. The bucket stands in the region of the *secondary*, which must work
when this is used, and the object must be readable by anybody. After AWS's "standby takes over primary"
(https://aws.amazon.com/blogs/networking-and-content-delivery/creating-disaster-recovery-mechanisms-using-amazon-route-53/).

What it takes until clients move is the health check's interval (10 or 30 s) times its failure threshold, and then the
records' time to live, which the topology must say as it is: nothing here writes the records.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from orchestrator.core.errors import BadInput
from orchestrator.core.steering import Routing, SteeringChange, shares_in
from orchestrator.core.topology import Shares, SteeringSpec
from providers.aws.calling import Way
from providers.aws.dials import must_be_there
from providers.base import Refused
from providers.documents.places import document
from providers.fenced import FencedDial, Targets
from providers.fencing import checked

_TEXT = b"While this object exists, Route 53 gives clients the secondary. Written by failover-orchestrator.\n"


class Switch:
    """Dial: one object, whose being there takes the primary out. Targets are what the options call both.

    It may: ``s3:ListBucket`` on the bucket, ``s3:PutObject`` and ``s3:DeleteObject`` on the key.
    """

    def __init__(self, spec: SteeringSpec) -> None:
        """Raises BadInput where the object, its region or one of the pair is not named."""
        options = dict(spec.options)
        who = f"the steering of {spec.name}"
        self.at = options.get("switch", "")
        place = urlsplit(self.at)
        self._bucket, self._key = place.netloc, unquote(place.path.removeprefix("/"))
        if place.scheme != "s3" or not self._bucket or not self._key:
            raise BadInput(f"{who} needs options.switch: the object that its health check fetches, s3://bucket/key")
        self._primary, self._secondary = options.get("primary", ""), options.get("secondary", "")
        if not self._primary or not self._secondary or self._primary == self._secondary:
            raise BadInput(f"{who} needs options.primary and options.secondary: the targets of its failover records")
        self._way = Way.of("s3", options, who)

    async def read(self) -> Targets:
        """The secondary where the object is, else the primary. Raises Transient, NotFound (the bucket), Forbidden,
        Unauthenticated."""
        off = await self._exists()
        return tuple(sorted(((self._primary, 0 if off else 100), (self._secondary, 100 if off else 0))))

    async def turn(self, targets: Targets) -> None:
        """One put, or one delete."""
        wanted = must_be_there(targets, await self.read(), self.at)
        if wanted.get(self._primary):
            what = f"switch to {self._primary} by deleting {self.at}"
            await self._way.write(what, "delete_object", Bucket=self._bucket, Key=self._key)
            return
        await self._way.write(
            f"switch to {self._secondary} by writing {self.at}",
            "put_object",
            Bucket=self._bucket,
            Key=self._key,
            Body=_TEXT,
            ContentType="text/plain",
            CacheControl="no-store",
        )

    async def _exists(self) -> bool:
        # A HEAD cannot tell a missing object from a missing bucket.
        found = await self._way.read(
            f"look for {self.at}", "list_objects_v2", Bucket=self._bucket, Prefix=self._key, MaxKeys=1
        )
        return any(each["Key"] == self._key for each in found.get("Contents", ()))


class SwitchSteering(FencedDial):
    """Steering by the switch: all traffic to one of two."""

    shares = Shares.ONE

    def __init__(self, spec: SteeringSpec) -> None:
        """Raises BadInput for a steering that names no switch, no pair or no fence."""
        super().__init__(spec, Switch(spec), document(spec))

    async def write(self, change: SteeringChange) -> Routing:
        """As ``FencedDial.write``; Refused for traffic to both, which a failover pair cannot say."""
        if len(shares_in(checked(change, self.spec.name).answer)) > 1:
            raise Refused(
                f"failover records give clients one of two: {self.spec.name} cannot have "
                f"{', '.join(change.answer.values)}; move all traffic to one endpoint"
            )
        return await super().write(change)
