"""Weights of target groups in a listener or a rule of Elastic Load Balancing.

One call sets them all; a weight is 0 to 999
(https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-action-types.html). Where an action keeps
clients at their target group (``TargetGroupStickinessConfig``), those with its cookie stay where they are until it runs
out, whatever the weights say: their longest stay is the longest that traffic takes to go over.
"""

from __future__ import annotations

import copy

from orchestrator.core.errors import BadInput
from orchestrator.core.steering import shares_of
from orchestrator.core.topology import SteeringSpec
from providers.aws.calling import Reply, Way, region_of
from providers.aws.dials import must_be_there
from providers.base import NotFound, Refused
from providers.documents.places import document
from providers.fenced import FencedDial, Targets


class ListenerWeights:
    """Dial: how a listener's default action, or a rule, shares traffic over target groups.

    A target is a target group's name. It may: ``elasticloadbalancing:DescribeListeners`` and ``ModifyListener``, or
    ``DescribeRules`` and ``ModifyRule``.
    """

    def __init__(self, spec: SteeringSpec) -> None:
        """Raises BadInput where not exactly one of listener and rule is named by its ARN, in the region named."""
        options = dict(spec.options)
        listener, rule = options.get("listener", ""), options.get("rule", "")
        if bool(listener) == bool(rule):
            raise BadInput(f"the steering of {spec.name} must name one ARN: options.listener or options.rule")
        self._arn, self._rule = listener or rule, bool(rule)
        where = f"the steering of {spec.name}"
        region = region_of(self._arn, "elasticloadbalancing", where)
        self._way = Way.of("elbv2", options, where)
        if self._way.region != region:
            raise BadInput(f"{where} is in {self._way.region} by its option region, and in {region} by its ARN")
        self.at = f"{'rule' if rule else 'listener'} {self._arn.split('/', 1)[-1]} in {region}"

    async def read(self) -> Targets:
        """Raises Transient, NotFound, Refused (it forwards nothing), Unauthenticated, Forbidden."""
        return _weights(self._forward(await self._actions()))

    async def turn(self, targets: Targets) -> None:
        """All weights in one call; what else the action says is said again as it was."""
        actions = await self._actions()
        forward = self._forward(actions)
        now = _weights(forward)
        wanted = must_be_there(targets, now, self.at)
        if shares_of(targets) == shares_of(now):
            return
        for group in forward["ForwardConfig"]["TargetGroups"]:
            group["Weight"] = wanted.get(_name(group["TargetGroupArn"]), 0)
        # The short form of one target group contradicts a longer list.
        forward.pop("TargetGroupArn", None)
        what = f"set the weights of {self.at}"
        if self._rule:
            await self._way.write(what, "modify_rule", RuleArn=self._arn, Actions=actions)
        else:
            await self._way.write(what, "modify_listener", ListenerArn=self._arn, DefaultActions=actions)

    async def _actions(self) -> list[Reply]:
        what = f"read {self.at}"
        if self._rule:
            found = (await self._way.read(what, "describe_rules", RuleArns=[self._arn]))["Rules"]
        else:
            found = (await self._way.read(what, "describe_listeners", ListenerArns=[self._arn]))["Listeners"]
        if not found:
            raise NotFound(f"there is no {self.at}; mend the ARN")
        actions: list[Reply] = copy.deepcopy(found[0]["Actions" if self._rule else "DefaultActions"])
        for action in actions:
            if "AuthenticateOidcConfig" in action:
                # Elastic Load Balancing never tells the secret: it must be told to keep the one it has.
                action["AuthenticateOidcConfig"]["UseExistingClientSecret"] = True
        return actions

    def _forward(self, actions: list[Reply]) -> Reply:
        found = [action for action in actions if action["Type"] == "forward"]
        if not found:
            raise Refused(f"{self.at} forwards to no target group; give it a forward action with all of them")
        if not found[0].get("ForwardConfig", {}).get("TargetGroups"):
            found[0]["ForwardConfig"] = {"TargetGroups": [{"TargetGroupArn": found[0]["TargetGroupArn"], "Weight": 1}]}
        return found[0]


class ElbSteering(FencedDial):
    """Steering by the weights of a listener or a rule."""

    def __init__(self, spec: SteeringSpec) -> None:
        """Raises BadInput for a steering that names no listener, rule or fence."""
        super().__init__(spec, ListenerWeights(spec), document(spec))


def _weights(forward: Reply) -> Targets:
    groups = forward["ForwardConfig"]["TargetGroups"]
    return tuple(sorted((_name(each["TargetGroupArn"]), int(each.get("Weight", 1))) for each in groups))


def _name(arn: str) -> str:
    """``chat-eu`` of ``arn:aws:elasticloadbalancing:...:targetgroup/chat-eu/73e2d6bc24d8a067``."""
    return arn.split("/")[1]
