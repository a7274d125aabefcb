"""Steering by the weights of a model's deployments at LiteLLM proxies, under a fence kept in a document.

For models whose names cannot be moved (Bedrock, Azure OpenAI, Vertex): clients ask the proxy for one public name, and
each deployment behind it is a target, called by its ``model_info.id``.

- Weights can be changed while a proxy runs only where it keeps its models in a database (``STORE_MODEL_IN_DB``): a
  config file is read at the start. A deployment of the file is refused, with the cure. ``PATCH /model/{id}/update``
  changes the weight alone (https://docs.litellm.ai/docs/proxy/model_management).
- A proxy that is patched reloads at once; another one on the same database does within half a minute. So all of the
  option ``proxies`` are told. The first that answers decides; the others are told as far as they answer.
- LiteLLM weighs by ``litellm_params.weight`` with its routing strategy ``simple-shuffle``, which is the default
  (https://docs.litellm.ai/docs/routing): a deployment without a weight beside others that have one is refused, as
  LiteLLM then goes by which comes first. Its own fallbacks and cool-downs go on below the weights.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import structlog

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import SteeringSpec
from providers import secrets
from providers.base import NotFound, ProviderError, Refused, ServerAnswer, Transient
from providers.documents.places import document, pointer
from providers.documents.web import Web, safe
from providers.fenced import FRESH_S, FencedDial, Targets, answer_of

log = structlog.get_logger()

T = TypeVar("T")
LARGEST = 4_000_000
"""Bytes of a list of models that are read."""
FINER = 1000
"""Weights may be fractions at LiteLLM: where one is, all are counted in thousandths."""


class Proxy:
    """One LiteLLM proxy, and the deployments of one public model there."""

    def __init__(
        self,
        base: str,
        model: str,
        login: Callable[[], str | None] = lambda: None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.at = f"LiteLLM at {urlsplit(base).netloc}"
        self._base = base
        self._model = model
        self._clock = clock
        self._web = Web(
            self.at,
            base,
            login=login,
            forbidden="take a proxy admin's key",
            unauthenticated="let the option login point at a proxy admin's key that is still good",
            largest=LARGEST,
        )

    async def weights(self) -> Targets:
        """Each deployment's weight. Raises Transient, NotFound, Unauthenticated, Forbidden, and Refused where LiteLLM
        would not go by weights."""
        return _weighed(await self._deployments(), self._model, self.at)

    async def turn(self, targets: Targets) -> None:
        """Up who gains, then down who loses. Raises as ``weights``, before anything is turned; NotFound for a target
        that is not there, Refused for one that cannot be changed; Transient where nobody would be left."""
        wanted, now = dict(targets), dict(await self._changeable(targets))
        looked = self._clock()
        for name in sorted(now, key=lambda each: (now[each] - wanted.get(each, 0), each)):
            if self._clock() - looked > FRESH_S:
                # Held up between two calls: another writer may have turned down whom we have turned up.
                now, looked = dict(await self.weights()), self._clock()
            now[name] = wanted.get(name, 0)
            if not any(now.values()):
                raise Transient(f"{self.at} was turned by somebody else meanwhile, and nobody would be left to serve")
            await self._patch(name, now[name])

    async def _changeable(self, targets: Targets) -> Targets:
        found = await self._deployments()
        now = _weighed(found, self._model, self.at)
        strange = sorted({name for name, _ in targets} - {name for name, _ in now})
        if strange:
            there = ", ".join(name for name, _ in now)
            raise NotFound(f"{self.at} has no deployment {', '.join(strange)} of {self._model}; there are: {there}")
        fixed = sorted(_id(each) for each in found if not _info(each).get("db_model"))
        if fixed:
            raise Refused(
                f"{self.at} has {', '.join(fixed)} of {self._model} from its config file, which it reads at its start "
                "only: store the model in the database (/model/new) and take it out of the file"
            )
        return now

    async def _patch(self, name: str, weight: int) -> None:
        # Sent though it stands already: a proxy that is patched reads all from the database, where others have written.
        body = json.dumps({"litellm_params": {"weight": weight}}).encode()
        url = f"{self._base}/model/{quote(name, safe='')}/update"
        answer = await self._web.send("PATCH", url, {"Content-Type": "application/json"}, body)
        if answer.status_code == 404:
            raise NotFound(f"{self.at} has no deployment {name} any more")
        if answer.status_code in {409, 412}:
            raise Refused(f"{self.at} would not change the weight of {name} ({answer.status_code}); see its log")

    async def _deployments(self) -> list[dict[str, Any]]:
        answer = await self._web.get(f"{self._base}/v1/model/info")
        if answer.status_code == 404:
            raise NotFound(f"{self.at} has no /v1/model/info: is this a LiteLLM proxy?")
        try:
            listed = json.loads(answer.text)["data"]
            return [each for each in listed if each["model_name"] == self._model]
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(f"{self.at} lists its models as no LiteLLM proxy does; mend the option proxies") from error


class LitellmDial:
    """A Dial over the proxies that share one database."""

    def __init__(self, proxies: tuple[Proxy, ...]) -> None:
        self.proxies = proxies
        self.at = " and ".join(each.at for each in proxies)

    async def read(self) -> Targets:
        """As the first proxy says that answers. Raises as ``Proxy.weights``."""
        _, weights = await self._first(lambda proxy: proxy.weights())
        return weights

    async def turn(self, targets: Targets) -> None:
        """Raises as ``Proxy.turn`` for the first proxy that answers; the others are told as far as they answer."""
        first, _ = await self._first(lambda proxy: proxy.turn(targets))
        others = tuple(each for each in self.proxies if each is not first)
        told = await asyncio.gather(*(each.turn(targets) for each in others), return_exceptions=True)
        for other, outcome in zip(others, told, strict=True):
            if isinstance(outcome, ProviderError):
                log.warning("litellm.untold", proxy=other.at, reason=str(outcome))
            elif isinstance(outcome, BaseException):
                raise outcome

    async def _first(self, ask: Callable[[Proxy], Awaitable[T]]) -> tuple[Proxy, T]:
        away: list[str] = []
        for proxy in self.proxies:
            try:
                return proxy, await ask(proxy)
            except Transient as error:
                if len(self.proxies) == 1:
                    raise
                away.append(str(error))
        raise Transient("; ".join(away))


class LitellmSteering(FencedDial):
    """FencedDial over LitellmDial."""

    def __init__(self, spec: SteeringSpec) -> None:
        """Raises BadInput for options that say nothing, or a key that would be sent in clear text."""
        options = dict(spec.options)
        addresses = tuple(each.strip().rstrip("/") for each in options.get("proxies", "").split(",") if each.strip())
        model, secret = options.get("model", ""), pointer(options.get("login", ""))
        if not addresses or not model:
            raise BadInput(f"the litellm steering of {spec.name} needs the options proxies and model; add them")
        for each in addresses:
            parts = urlsplit(each)
            if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
                raise BadInput(f"option proxies of {spec.name} says '{each[:60]}'; write https://host:port")
            if secret and not safe(each):
                raise BadInput(f"option proxies of {spec.name} would send the admin key in clear text; write https")

        def login() -> str | None:
            return f"Bearer {secrets.resolve(secret)}" if secret else None

        self._proxies = LitellmDial(tuple(Proxy(each, model, login) for each in addresses))
        super().__init__(spec, self._proxies, document(spec))

    async def answers(self) -> tuple[ServerAnswer, ...]:
        """What each proxy says: one that was not told follows its database within half a minute. Never raises."""
        return tuple(await asyncio.gather(*(_answer_of(each) for each in self._proxies.proxies)))


async def _answer_of(proxy: Proxy) -> ServerAnswer:
    try:
        answer = answer_of(await proxy.weights())
    except ProviderError as error:
        return ServerAnswer(proxy.at, None, str(error))
    return ServerAnswer(proxy.at, answer, None if answer else "it sends traffic nowhere")


def _weighed(deployments: list[dict[str, Any]], model: str, at: str) -> Targets:
    if not deployments:
        raise NotFound(f"{at} has no model called {model}; mend the option model, or add it there")
    given = {_id(each): (each.get("litellm_params") or {}).get("weight") for each in deployments}
    weights = {name: each for name, each in given.items() if isinstance(each, int | float) and 0 <= each < math.inf}
    if bare := sorted(given.keys() - weights.keys()):
        raise Refused(
            f"{at} has no weight for {', '.join(bare)} of {model}, and goes by which deployment comes first then: "
            "give each of them a litellm_params.weight"
        )
    unit = 1 if all(weight == int(weight) for weight in weights.values()) else FINER
    return tuple(sorted((name, round(weight * unit)) for name, weight in weights.items()))


def _info(deployment: dict[str, Any]) -> dict[str, Any]:
    return deployment.get("model_info") or {}


def _id(deployment: dict[str, Any]) -> str:
    return str(_info(deployment).get("id", ""))
