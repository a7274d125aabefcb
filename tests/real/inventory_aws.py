"""An account of AWS to look through: what a person makes at moto's server, and a way there that keeps watch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Self

from botocore.config import Config  # type: ignore[import-untyped]  # the SDK ships no types
from botocore.session import Session  # type: ignore[import-untyped]

from real.moto import fresh, moto, moto_url
from real.saboteur import Saboteur

_SESSION = Session()
_ACTION = re.compile(rb"Action=(\w+)")


@cache
def console(service: str, region: str) -> Any:
    """moto, as a person with a console has it; patient, for moto loads a service when it is first asked for it."""
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    config = Config(read_timeout=45)
    return _SESSION.create_client(service, region_name=region, endpoint_url=moto_url(), config=config, **keys)


@cache
def _subnets(region: str) -> tuple[str, tuple[str, ...]]:
    vpc = console("ec2", region).describe_vpcs()["Vpcs"][0]["VpcId"]
    found = console("ec2", region).describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
    return vpc, tuple(sorted(each["SubnetId"] for each in found))


@dataclass(frozen=True)
class Balancer:
    region: str
    arn: str
    dns: str
    zone: str
    listener: str


class Account:
    """Makes things of fresh names."""

    def balancer(self, region: str) -> Balancer:
        """An application load balancer whose listener answers 404 by itself."""
        made = console("elbv2", region).create_load_balancer(Name=fresh("lb")[-32:], Subnets=_subnets(region)[1][:2])
        (one,) = made["LoadBalancers"]
        listener = console("elbv2", region).create_listener(
            LoadBalancerArn=one["LoadBalancerArn"],
            Protocol="HTTP",
            Port=80,
            DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}],
        )
        arn = listener["Listeners"][0]["ListenerArn"]
        return Balancer(region, one["LoadBalancerArn"], one["DNSName"], one["CanonicalHostedZoneId"], arn)

    def behind(self, balancer: Balancer, *, host: str = "", health: str = "/") -> str:
        """The ARN of a target group behind *balancer*: for *host*, or for everybody."""
        elb = console("elbv2", balancer.region)
        made = elb.create_target_group(
            Name=fresh("tg")[-32:],
            Protocol="HTTP",
            Port=8080,
            VpcId=_subnets(balancer.region)[0],
            TargetType="ip",
            HealthCheckPath=health,
        )
        arn: str = made["TargetGroups"][0]["TargetGroupArn"]
        rules = elb.describe_rules(ListenerArn=balancer.listener)["Rules"]
        condition: dict[str, Any] = {"Field": "path-pattern", "PathPatternConfig": {"Values": [f"/{len(rules)}*"]}}
        if host:
            condition = {"Field": "host-header", "HostHeaderConfig": {"Values": [host]}}
        elb.create_rule(
            ListenerArn=balancer.listener,
            Priority=len(rules),
            Conditions=[condition],
            Actions=[{"Type": "forward", "TargetGroupArn": arn}],
        )
        return arn

    def cluster(self, region: str) -> str:
        name = fresh("cluster")
        console("ecs", region).create_cluster(clusterName=name)
        return name

    def ecs(
        self,
        region: str,
        name: str,
        *,
        count: int = 1,
        cluster: str = "",
        behind: Balancer | None = None,
        host: str = "",
        health: str = "/",
        tags: Mapping[str, str] | None = None,
        plain: bool = False,
    ) -> Balancer | None:
        """An ECS service behind a load balancer, its own where none is given; *plain*: behind none."""
        ecs = console("ecs", region)
        family = fresh("task")
        container = {"name": "server", "image": "vllm", "memory": 64, "portMappings": [{"containerPort": 8080}]}
        ecs.register_task_definition(family=family, containerDefinitions=[container])
        balancer = None if plain else behind or self.balancer(region)
        before = []
        if balancer is not None:
            arn = self.behind(balancer, host=host, health=health)
            before = [{"targetGroupArn": arn, "containerName": "server", "containerPort": 8080}]
        ecs.create_service(
            cluster=cluster or self.cluster(region),
            serviceName=name,
            taskDefinition=family,
            desiredCount=count,
            loadBalancers=before,
            tags=[{"key": key, "value": value} for key, value in (tags or {}).items()],
        )
        return balancer

    def group(self, region: str, name: str, *, tags: Mapping[str, str]) -> None:
        """An Auto Scaling group of one instance."""
        launch = fresh("launch")
        scaling = console("autoscaling", region)
        scaling.create_launch_configuration(
            LaunchConfigurationName=launch, ImageId="ami-12c6146b", InstanceType="t2.micro"
        )
        scaling.create_auto_scaling_group(
            AutoScalingGroupName=name,
            LaunchConfigurationName=launch,
            MinSize=0,
            MaxSize=4,
            DesiredCapacity=0,
            VPCZoneIdentifier=_subnets(region)[1][0],
            Tags=[{"Key": key, "Value": value, "PropagateAtLaunch": False} for key, value in tags.items()],
        )

    def sagemaker(self, region: str, name: str) -> None:
        """An endpoint with one variant, 'main'."""
        maker, role = console("sagemaker", region), "arn:aws:iam::123456789012:role/FakeRole"
        maker.create_model(ModelName=name, ExecutionRoleArn=role, PrimaryContainer={"Image": "vllm"})
        variant = {"VariantName": "main", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
        variants = [variant | {"InitialVariantWeight": 1}]
        maker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants)
        maker.create_endpoint(EndpointName=name, EndpointConfigName=name)

    def zone(self) -> tuple[str, str]:
        """Id and domain of a new hosted zone."""
        domain = f"{fresh('zone')}.example"
        made = console("route53", "us-east-1").create_hosted_zone(Name=domain, CallerReference=domain)
        return made["HostedZone"]["Id"].rpartition("/")[2], domain

    def alias(self, zone: str, name: str, to: Balancer | None) -> None:
        assert to is not None
        self._put(zone, {"Name": name, "Type": "A", "AliasTarget": _alias(to)})

    def weighted_alias(self, zone: str, name: str, to: tuple[tuple[Balancer | None, int], ...]) -> None:
        for balancer, weight in to:
            assert balancer is not None
            weighted = {"SetIdentifier": balancer.region, "Weight": weight, "AliasTarget": _alias(balancer)}
            self._put(zone, {"Name": name, "Type": "A"} | weighted)

    def weighted_cname(self, zone: str, name: str, to: Mapping[str, int]) -> None:
        for host, weight in to.items():
            weighted = {"SetIdentifier": host, "Weight": weight, "TTL": 30, "ResourceRecords": [{"Value": host}]}
            self._put(zone, {"Name": name, "Type": "CNAME"} | weighted)

    def _put(self, zone: str, record: dict[str, Any]) -> None:
        batch = {"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}
        console("route53", "us-east-1").change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)


def _alias(to: Balancer) -> dict[str, Any]:
    return {"HostedZoneId": to.zone, "DNSName": f"dualstack.{to.dns}", "EvaluateTargetHealth": True}


@dataclass
class Watched(Saboteur):
    """The way to moto: keeps what was asked, and refuses what may not be."""

    asked: list[str] = field(default_factory=list)
    """Operations by their names; of Route 53, method and path."""
    denied: str = ""
    """An operation, or ``*`` for all."""

    def start(self) -> Self:
        super().start()
        assert self._server is not None
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that is cut off is no news
        self._server.RequestHandlerClass.disable_nagle_algorithm = True  # type: ignore[attr-defined]
        return self

    def forward(
        self, method: str, path: str, body: bytes, headers: list[tuple[str, str]]
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        target = next((value for name, value in headers if name.lower() == "x-amz-target"), "")
        action = _ACTION.search(body)
        operation = target.rpartition(".")[2] or (action[1].decode() if action else f"{method} {path}")
        self.asked.append(operation)
        if self.denied not in {operation, "*"}:
            return super().forward(method, path, body, headers)
        says = f"User: arn:aws:iam::123456789012:user/ops is not authorized to perform: some:{operation.split()[0]}"
        if target:
            return 400, [], f'{{"__type": "AccessDeniedException", "message": "{says}"}}'.encode()
        error = f"<Error><Type>Sender</Type><Code>AccessDenied</Code><Message>{says}</Message></Error>"
        return 403, [], f"<ErrorResponse>{error}<RequestId>4711</RequestId></ErrorResponse>".encode()


@contextmanager
def watched(*, denied: str = "") -> Iterator[Watched]:
    """A way to moto on which *denied* may not be asked."""
    way = Watched(moto(), denied=denied).start()
    try:
        yield way
    finally:
        way.leave()
