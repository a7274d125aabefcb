"""Safety rules that hold for every service, as its workflow meets them."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.core.decision import Request
from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.names import Domain
from orchestrator.core.orders import Freeze, Limits, Orders, Weekly
from orchestrator.core.record import RunStatus
from orchestrator.core.topology import Topology
from orchestrator.runtime.control import ControlPlane
from real.scenery import TOLD, US, VANTAGES, World, service
from real.stage import Stage, staff, stage, time_skipping, until
from runbooks.books import packed
from workflows.activities.publishing import Publishing
from workflows.wire import FailoverRequest, Refusal, Slice, Started, service_id

OWN = """\
apiVersion: failover/v1
kind: Runbook
metadata: {name: ours}
steps:
  - {id: ours, type: steer}
"""


async def configured(play: Stage, revision: int, orders: Orders) -> None:
    """The service hears of a topology with these orders."""
    await play.handle.signal("configure", replace(play.slice(revision), orders=orders))
    await play.settled()


def asking(number: int, *overrides: str) -> FailoverRequest:
    request = Request(MoveKind.SWITCHOVER, Trigger("ann@laptop", "because", overrides), US)
    return FailoverRequest(f"request-{number}", request)


async def test_with_the_gate_shut_automation_asks() -> None:
    """While all automation is off an outage becomes a question; when it is on again the traffic moves."""
    async with stage() as play:
        await play.open()
        await configured(play, 2, Orders(gate="the vendor is at work"))
        await play.all_say(eu="healthy", us="healthy")
        await play.report("v2", eu="down", us="healthy")
        await play.report("v3", eu="down", us="healthy")
        asked = await play.until(lambda status: status.question is not None)
        assert asked.question is not None
        assert [reason.rule for reason in asked.question.reasons] == ["gate"]
        assert not play.world.wrote
        await configured(play, 3, Orders())
        done = await play.closed()
        assert done.last_runs[0].status is RunStatus.COMPLETED


async def test_a_freeze_refuses_planned_moves_and_not_an_outage() -> None:
    """In a window a person must name it to move what works; what is down is moved as always."""
    async with stage() as play:
        await play.open()
        # The zone's rules are read from the machine, from within the workflow.
        window = Freeze("audit", Weekly(tuple(range(7)), 0, 1440, "Europe/Berlin"))
        await configured(play, 2, Orders(freezes=(window,)))
        await play.all_say(eu="healthy", us="healthy")
        refused = await play.handle.execute_update("request", asking(1), result_type=Started | Refusal)
        assert isinstance(refused, Refusal)
        assert [reason.rule for reason in refused.reasons] == ["freeze"]
        assert "mon, tue, wed, thu, fri, sat and sun 00:00-24:00 Europe/Berlin" in refused.reasons[0].text
        await play.report("v2", eu="down", us="healthy")
        await play.report("v3", eu="down", us="healthy")
        done = await play.closed()
        assert done.last_runs[0].trigger.by == "automatic"


async def test_a_service_learns_what_holds_for_all_and_its_runbooks() -> None:
    """apply brings roles, own runbooks and orders to every service."""
    async with time_skipping() as env:
        publishing = Publishing(env.client)
        world = World(env.get_current_time)
        async with staff(env.client, world, publishing.running_endpoints, publishing.publish_topology):
            orders = Orders(jurisdictions=((Domain("alpha"), "eu"),), limits=Limits(at_once=3))
            roles = (("sre", ("alice", "bob")),)
            regions = tuple(sorted(vantage.region for vantage in VANTAGES))
            chat = service("chat", runbook_planned="ours")
            wanted = Topology(regions, VANTAGES, (chat,), TOLD, roles=roles, books=(("ours.yaml", OWN),), orders=orders)
            await ControlPlane(env.client).apply(wanted, expects=0, by="ann")
            handle = env.client.get_workflow_handle(service_id(chat.id))

            async def learnt() -> Slice:
                piece: Slice = await handle.query("slice", result_type=Slice)
                return piece

            piece = await until(learnt, lambda each: each.revision == 1)
            assert (piece.roles, piece.orders) == (roles, orders)
            assert piece.books == (("ours.yaml", packed(OWN, "ours.yaml")),)
