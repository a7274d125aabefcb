"""Signals from AWS: alarms and Spot notices at moto, issues at a server that keeps to AWS Health's model."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from functools import cache
from urllib.parse import parse_qs, urlencode
from xml.etree import ElementTree as Xml

import pytest

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import SignalSpec
from providers import registry
from providers.base import (
    Forbidden,
    Inconclusive,
    NotFound,
    ProviderError,
    Refused,
    Sign,
    Signal,
    Throttled,
    Transient,
    Unauthenticated,
)
from real.aws import REGION, AwsPlace, Counting, network, sdk
from real.moto import fresh, moto
from real.saboteur import Mischief, Reply
from wire.aws_health import BEGUN, Health

SECRET = "AKIAVERYSECRET"
REFUSALS = [
    (400, "ThrottlingException", Throttled),
    (429, "", Throttled),
    (401, "", Unauthenticated),
    (403, "ExpiredTokenException", Unauthenticated),
    (403, "AccessDeniedException", Forbidden),
    (404, "", NotFound),
    (500, "InternalFailure", Transient),
    (503, "ServiceUnavailable", Transient),
    (400, "ValidationException", Refused),
]


def signal(provider: str, target: str, url: str, **options: str) -> Signal:
    given = {"region": REGION, "endpoint": url, **options}
    return registry.signal(SignalSpec("warning", provider, target, options=tuple(sorted(given.items()))))


@pytest.fixture
def aws() -> Iterator[Counting]:
    """moto, behind a proxy."""
    place = AwsPlace()
    yield place.proxy
    place.close()


@pytest.fixture
def broken() -> Iterator[Counting]:
    """The same, whose failures are on nobody else's line."""
    made = Counting(moto()).start()
    yield made
    made.close()


def said(status: int, **document: object) -> Reply:
    return Reply(status, json.dumps(document).encode(), (("content-type", "application/x-amz-json-1.0"),))


def always(reply: Reply) -> Mischief:
    return Mischief(lambda *_: True, 9, reply)


def alarm(state: str, reason: str = "") -> str:
    """The name of a new alarm in *state*."""
    name = fresh("errors")
    sdk("cloudwatch").put_metric_alarm(
        AlarmName=name,
        Namespace="Chat",
        MetricName="Errors",
        ComparisonOperator="GreaterThanThreshold",
        EvaluationPeriods=1,
        Period=60,
        Threshold=5.0,
        Statistic="Sum",
    )
    sdk("cloudwatch").set_alarm_state(AlarmName=name, StateValue=state, StateReason=reason or "by hand")
    return name


async def test_an_alarm_is_active_while_it_is_in_alarm(aws: Counting) -> None:
    """Its reason is told shortly, on one line, with the time since when it is so."""
    long = "Threshold Crossed:\n 1 datapoint " + "[7.0 (01/03/26 02:10:00)] " * 20
    name = await asyncio.to_thread(alarm, "ALARM", long)
    sign = await signal("cloudwatch", name, aws.url).read()
    assert sign.active
    assert sign.text.startswith("Threshold Crossed: 1 datapoint [7.0")
    assert len(sign.text) <= 160
    assert "\n" not in sign.text
    assert sign.since is not None
    assert abs((datetime.now(UTC) - sign.since).total_seconds()) < 120
    await asyncio.to_thread(sdk("cloudwatch").set_alarm_state, AlarmName=name, StateValue="OK", StateReason="fine")
    assert await signal("cloudwatch", name, aws.url).read() == Sign(False, "OK")


async def test_too_few_data_are_neither_yes_nor_no(aws: Counting) -> None:
    """And the sentence says what to do where none is good news."""
    name = await asyncio.to_thread(alarm, "INSUFFICIENT_DATA")
    with pytest.raises(Inconclusive, match=r"too few data; .* notBreaching"):
        await signal("cloudwatch", name, aws.url).read()


async def test_a_composite_alarm_is_one_too(aws: Counting) -> None:
    """CloudWatch tells of them only where they are asked for. (moto has none: the proxy answers.)"""
    asked: list[bytes] = []
    one = {"AlarmName": "all", "StateValue": "ALARM", "StateReason": "errors is in ALARM"}
    times = {"StateTransitionedTimestamp": 1772331000, "StateUpdatedTimestamp": 1772332000}

    def meant(_method: str, _path: str, body: bytes) -> bool:
        asked.append(body)
        return True

    aws.mischief.append(Mischief(meant, 1, said(200, CompositeAlarms=[one | times])))
    sign = await signal("cloudwatch", "all", aws.url).read()
    assert sign == Sign(True, "errors is in ALARM", datetime(2026, 3, 1, 2, 10, tzinfo=UTC))
    assert json.loads(asked[0])["AlarmTypes"] == ["MetricAlarm", "CompositeAlarm"]


async def test_an_alarm_that_cannot_be_evaluated_says_nothing(aws: Counting) -> None:
    """Its state is an old one then."""
    one = {"AlarmName": "a", "StateValue": "OK", "EvaluationState": "EVALUATION_ERROR"}
    aws.mischief.append(always(said(200, MetricAlarms=[one])))
    with pytest.raises(Inconclusive, match="cannot evaluate"):
        await signal("cloudwatch", "a", aws.url).read()


async def test_an_alarm_that_is_not_there_is_told(aws: Counting) -> None:
    """A slip in its name must not look like an alarm that is silent."""
    with pytest.raises(NotFound, match=r"there is no CloudWatch alarm nothing in eu-west-1; mend the target"):
        await signal("cloudwatch", "nothing", aws.url).read()


@pytest.mark.parametrize(("status", "code", "error"), REFUSALS)
@pytest.mark.parametrize("provider", ["cloudwatch", "aws-health"])
async def test_each_refusal_is_the_error_that_says_what_to_do(
    broken: Counting, provider: str, status: int, code: str, error: type[ProviderError]
) -> None:
    """One line, and no key in it."""
    message = f"perform: health:DescribeEvents {SECRET}" if error is not Refused else "no"
    broken.mischief.append(always(said(status, __type=f"com.amazonaws#{code}", message=message)))
    with pytest.raises(error) as told:
        await signal(provider, "EC2", broken.url).read()
    assert type(told.value) is error
    assert "\n" not in str(told.value)
    assert SECRET not in str(told.value) or error is NotFound  # AWS's own sentence on what is not there


@pytest.mark.parametrize(("provider", "target"), [("cloudwatch", "errors"), ("aws-health", "EC2"), ("spot", "gpus")])
async def test_a_cloud_that_is_away_is_told(broken: Counting, provider: str, target: str) -> None:
    """It may work next time."""
    broken.leave()
    with pytest.raises(Transient, match="gave no answer"):
        await signal(provider, target, broken.url).read()


@pytest.fixture
async def health() -> AsyncIterator[Health]:
    made = Health().start()
    yield made
    assert made.wrong == []
    made.close()


async def test_an_open_issue_of_the_service_and_region_is_a_signal(health: Health) -> None:
    """Others' issues, those that are over, and what is none are not."""
    source = signal("aws-health", "ec2", f"http://{health.at}")
    health.happens("EC2", "us-east-1")
    health.happens("S3", REGION)
    health.happens("EC2", REGION, status="closed")
    health.happens("EC2", REGION, category="scheduledChange")
    assert await source.read() == Sign(False, "no open issue")
    health.happens("EC2", REGION)
    assert await source.read() == Sign(True, "AWS says: AWS_EC2_OPERATIONAL_ISSUE", BEGUN)


async def test_several_services_and_pages_are_one_signal(health: Health) -> None:
    """Since the first of them; a few are called by name."""
    health.page = 2
    for after in (3, 1, 2, 4, 5):
        health.happens("EC2" if after % 2 else "SAGEMAKER", REGION, after=after)
    sign = await signal("aws-health", "EC2, SAGEMAKER", f"http://{health.at}").read()
    assert sign.text.endswith("and 2 more")
    assert sign.since is not None
    assert sign.since.minute == 11


async def test_without_a_support_plan_nothing_is_known(health: Health) -> None:
    """The sentence says what is missing."""
    health.plan = False
    with pytest.raises(Forbidden, match="support plan"):
        await signal("aws-health", "EC2", f"http://{health.at}").read()


def empty_group() -> str:
    """An Auto Scaling group without instances."""
    name = fresh("gpus")
    sdk("ec2").create_launch_template(LaunchTemplateName=name, LaunchTemplateData={"InstanceType": "g5.xlarge"})
    sdk("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName=name,
        MinSize=0,
        MaxSize=5,
        DesiredCapacity=0,
        LaunchTemplate={"LaunchTemplateName": name},
        VPCZoneIdentifier=network()[1][0],
    )
    return name


@cache
def machines() -> tuple[str, ...]:
    """Three Spot Instances: making them takes moto seconds."""
    image = sdk("ec2").describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    asked = sdk("ec2").request_spot_instances(
        InstanceCount=3, LaunchSpecification={"ImageId": image, "InstanceType": "g5.xlarge"}
    )
    return tuple(sorted(each["InstanceId"] for each in asked["SpotInstanceRequests"]))


@cache
def group() -> str:
    """An Auto Scaling group that has two of the machines."""
    name = empty_group()
    sdk("autoscaling").attach_instances(AutoScalingGroupName=name, InstanceIds=list(machines()[:2]))
    return name


class Spot:
    """An Auto Scaling group of Spot Instances at moto, which takes none back and knows no filter by instance: the
    proxy does both, in EC2's own XML."""

    def __init__(self, proxy: Counting) -> None:
        self.proxy = proxy
        self.group, self.instances = group(), machines()
        self.codes: dict[str, str] = {}
        self._plain = proxy.forward
        proxy.forward = self.forward  # type: ignore[method-assign]

    def forward(
        self, method: str, path: str, body: bytes, headers: list[tuple[str, str]]
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        asked = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        if asked["Action"] != "DescribeSpotInstanceRequests":
            return self._plain(method, path, body, headers)
        assert asked.pop("Filter.1.Name") == "instance-id"
        wanted = {asked.pop(name) for name in tuple(asked) if name.startswith("Filter.1.Value.")}
        body = urlencode(asked).encode()
        kept = [(name, value) for name, value in headers if name.lower() != "content-length"]
        status, said, answer = self._plain(method, path, body, kept)
        tree = Xml.fromstring(answer)  # noqa: S314 - moto's own
        space = re.match(r"\{.*\}", tree.tag)
        at = space[0] if space else ""
        requests = tree.find(f"{at}spotInstanceRequestSet")
        assert requests is not None
        for item in list(requests):
            instance = item.findtext(f"{at}instanceId") or ""
            code = item.find(f"{at}status/{at}code")
            assert code is not None
            code.text = self.codes.get(instance, code.text)
            if instance not in wanted:
                requests.remove(item)
        return status, said, Xml.tostring(tree)

    def signal(self, **options: str) -> Signal:
        return signal("spot", self.group, self.proxy.url, **options)


@pytest.fixture
async def spot(aws: Counting) -> Spot:
    return await asyncio.to_thread(Spot, aws)


async def test_instances_that_aws_takes_back_are_a_signal(spot: Spot) -> None:
    """With their number, and the codes that AWS gives; one outside of the group is nobody's business here."""
    source = spot.signal()
    assert await source.read() == Sign(False, "no notice")
    spot.codes[spot.instances[2]] = "marked-for-termination"
    assert await source.read() == Sign(False, "no notice")
    spot.codes[spot.instances[0]] = "marked-for-termination"
    sign = await source.read()
    assert (sign.active, sign.text) == (True, "AWS takes back 1 of 2 instances (marked-for-termination)")
    assert sign.since == datetime(2015, 1, 1, tzinfo=UTC)  # as moto says of every request


@pytest.mark.parametrize(
    ("code", "active"),
    [
        ("instance-terminated-no-capacity", True),
        ("marked-for-stop", True),
        ("instance-terminated-by-price", True),
        ("instance-terminated-by-user", False),
        ("instance-stopped-by-user", False),
        ("request-canceled-and-instance-running", False),
        ("fulfilled", False),
    ],
)
async def test_what_people_do_to_an_instance_is_no_notice(spot: Spot, code: str, active: bool) -> None:
    """What AWS does is."""
    spot.codes[spot.instances[0]] = code
    assert (await spot.signal().read()).active is active


async def test_how_many_instances_make_it_can_be_said(spot: Spot) -> None:
    """One of many is often no reason to leave."""
    spot.codes[spot.instances[0]] = "marked-for-termination"
    sign = await spot.signal(least="2").read()
    assert (sign.active, sign.since) == (False, None)
    assert "1 of 2" in sign.text
    spot.codes[spot.instances[1]] = "instance-terminated-no-capacity"
    assert (await spot.signal(least="2").read()).active


async def test_a_group_that_is_not_there_is_told_and_one_without_instances_is_silent(aws: Counting, spot: Spot) -> None:
    """A slip in its name must not look like silence."""
    with pytest.raises(NotFound, match="there is no Auto Scaling group nobody"):
        await signal("spot", "nobody", aws.url).read()
    spot.codes = dict.fromkeys(spot.instances, "marked-for-termination")
    empty = await asyncio.to_thread(empty_group)
    assert await signal("spot", empty, aws.url).read() == Sign(False, "no notice")


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (503, "RequestLimitExceeded", Throttled),
        (403, "UnauthorizedOperation", Forbidden),
        (401, "AuthFailure", Unauthenticated),
        (500, "InternalError", Transient),
    ],
)
async def test_refusals_of_ec2_are_told_too(spot: Spot, status: int, code: str, error: type[ProviderError]) -> None:
    """EC2 has codes and a form of its own."""
    body = f"<Response><Errors><Error><Code>{code}</Code><Message>{SECRET}</Message></Error></Errors></Response>"
    meant = Mischief(lambda _m, _p, asked: b"DescribeSpotInstanceRequests" in asked, 9, Reply(status, body.encode()))
    spot.proxy.mischief.append(meant)
    with pytest.raises(error) as told:
        await spot.signal().read()
    assert type(told.value) is error
    assert SECRET not in str(told.value)


@pytest.mark.parametrize(
    ("provider", "target", "options", "says"),
    [
        ("cloudwatch", "errors", {}, "does not say its region"),
        ("aws-health", "EC2", {}, "does not say its region"),
        ("aws-health", " , ", {"region": REGION}, "names no service"),
        ("aws-health", ",".join("ABCDEFGHIJK"), {"region": REGION}, "more than 10"),
        ("spot", "gpus", {"region": REGION, "least": "half"}, "option least"),
        ("spot", "gpus", {"region": REGION, "least": "0"}, "option least"),
    ],
)
def test_a_source_that_cannot_be_meant_is_refused(
    provider: str, target: str, options: dict[str, str], says: str
) -> None:
    """Before anything is asked."""
    with pytest.raises(BadInput, match=says):
        registry.signal(SignalSpec("warning", provider, target, options=tuple(options.items())))
