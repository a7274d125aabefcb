"""LiteLLM: what is special to its proxies, against a server that speaks their API as their source has it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from orchestrator.core.errors import BadInput
from providers import registry
from providers.base import Refused, Transient, Unauthenticated
from providers.documents.litellm import Proxy
from providers.fenced import FRESH_S
from real.document_places import LitellmPlace, spec_of
from real.place import Trouble, change
from real.saboteur import Mischief
from wire.http import Request
from wire.litellm import LitellmProxy
from wire.stores import header


@pytest.fixture
async def litellm() -> AsyncIterator[LitellmPlace]:
    made = LitellmPlace()
    await made.open()
    yield made
    made.close()


async def test_every_proxy_on_the_database_is_told_at_once(litellm: LitellmPlace) -> None:
    """A proxy follows its database within half a minute; one that is patched reloads now."""
    second = LitellmProxy(litellm.database)
    second.start()
    options = {**dict(litellm.spec.options), "proxies": f"{litellm.proxy.url}, {second.url}"}
    steering = registry.steering(replace(litellm.spec, options=tuple(sorted(options.items()))))
    await steering.write(change(litellm, await steering.read(), 5, 95))
    for proxy in (litellm.proxy, second):
        said = {each["model_info"]["id"]: each["litellm_params"]["weight"] for each in proxy.models}
        assert said == {"paris": 5, "ohio": 95, "elsewhere": 7}
    assert len({each.answer for each in await steering.answers()}) == 1
    second.close()


async def test_a_proxy_that_is_away_holds_up_nobody(litellm: LitellmPlace) -> None:
    """The first that answers decides; the one that is away is told of in the answers."""
    options = {**dict(litellm.spec.options), "proxies": f"http://127.0.0.1:1, {litellm.proxy.url}"}
    steering = registry.steering(replace(litellm.spec, options=tuple(sorted(options.items()))))
    await steering.write(change(litellm, await steering.read(), 0, 100))
    assert await litellm.now() == {"ohio": 100}
    assert [bool(each.error) for each in await steering.answers()] == [True, False]


def deploy(litellm: LitellmPlace, edit: Callable[[dict[str, dict[str, object]]], object]) -> None:
    edit(litellm.database.models[0])
    litellm.proxy.reload()


async def test_a_deployment_of_the_config_file_is_refused_before_anything_is_turned(litellm: LitellmPlace) -> None:
    """What a proxy reads at its start only cannot be steered; the sentence says how it can."""
    deploy(litellm, lambda each: each["model_info"].update(db_model=False))
    steering = litellm.steering()
    with pytest.raises(Refused, match=r"has paris of chat from its config file.*store the model in the database"):
        await steering.write(change(litellm, await steering.read(), 0, 100))
    assert (litellm.proxy.effects, await litellm.now()) == (0, {"paris": 100})


async def test_a_deployment_without_a_weight_is_refused(litellm: LitellmPlace) -> None:
    """LiteLLM would go by the order of its list, which no share says."""
    deploy(litellm, lambda each: each["litellm_params"].pop("weight"))
    with pytest.raises(Refused, match=r"no weight for paris of chat.*give each of them"):
        await litellm.steering().read()


async def test_weights_of_litellm_may_be_fractions(litellm: LitellmPlace) -> None:
    """0.9 and 0.1 are 90 and 10 percent, and can be adopted as they are."""
    deploy(litellm, lambda each: each["litellm_params"].update(weight=0.9))
    litellm.database.models[1]["litellm_params"]["weight"] = 0.1
    litellm.proxy.reload()
    steering = litellm.steering()
    routing = await steering.read()
    assert routing.answer is not None
    assert routing.answer.values == ("ohio=10", "paris=90")
    await steering.write(change(litellm, routing, 90, 10, run="adopt"))
    assert litellm.proxy.effects == 0


async def test_nobody_is_turned_down_before_somebody_is_turned_up(litellm: LitellmPlace) -> None:
    """There is no moment without a weight above 0, not even for the last to be turned."""
    steering = litellm.steering()
    await steering.write(change(litellm, await steering.read(), 0, 100))
    patched = [request for request in litellm.proxy.seen if request.method == "PATCH"]
    assert [name_and_weight(request) for request in patched] == [("ohio", 100), ("paris", 0)]


async def test_who_was_held_up_between_two_calls_leaves_somebody_to_serve(litellm: LitellmPlace) -> None:
    """Turned up, then frozen; another writer turned it down again: who wakes does not turn the last one down."""
    now = [0.0]
    proxy = Proxy(litellm.proxy.url, "chat", clock=lambda: now[0])

    def meanwhile(method: str, _path: str, _body: bytes) -> bool:
        # Between the first call and the second: frozen, and the other writer has come and gone.
        if method == "PATCH" and not now[0]:
            now[0] = FRESH_S + 1
        elif now[0]:
            deploy(litellm, lambda each: each["litellm_params"].update(weight=100))
            litellm.database.models[1]["litellm_params"]["weight"] = 0
            litellm.proxy.reload()
        return False

    litellm.proxy.mischief.append(Mischief(meanwhile, 1))
    with pytest.raises(Transient, match="nobody would be left to serve"):
        await proxy.turn((("ohio", 100),))
    assert await litellm.now() == {"paris": 100}


def name_and_weight(request: Request) -> tuple[str, int]:
    return request.path.split("/")[2], json.loads(request.body)["litellm_params"]["weight"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"proxies": "", "model": "chat"}, "needs the options proxies and model"),
        ({"proxies": "https://a"}, "needs the options proxies and model"),
        ({"proxies": "litellm:4000", "model": "chat"}, "write https://host:port"),
        ({"proxies": "https://me:hush@a", "model": "chat"}, "write https://host:port"),
        ({"proxies": "http://litellm:4000", "model": "chat", "login": "env:KEY"}, "in clear text"),
        ({"proxies": "https://a", "model": "chat", "login": "hush"}, "env:NAME or file:/path"),
    ],
)
def test_a_litellm_that_cannot_be_steered_says_what_to_mend(options: dict[str, str], says: str) -> None:
    """Before anything is asked."""
    with pytest.raises(BadInput, match=says):
        registry.steering(spec_of("litellm", fence="file:/tmp/fence.json", **options))


async def test_the_admin_key_is_sent_as_a_bearer(litellm: LitellmPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is in no sentence."""
    monkeypatch.setenv("LITELLM_KEY", "sk-hush")
    options = {**dict(litellm.spec.options), "login": "env:LITELLM_KEY"}
    steering = registry.steering(replace(litellm.spec, options=tuple(sorted(options.items()))))
    await steering.read()
    assert header(litellm.proxy.seen[-1], "authorization") == "Bearer sk-hush"
    litellm.trouble(Trouble.EXPIRED, times=9)
    with pytest.raises(Unauthenticated) as told:
        await steering.read()
    assert "hush" not in str(told.value)
