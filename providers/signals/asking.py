"""One question to the API of a vendor that watches: JSON over HTTPS, with a key of his."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import httpx

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import SignalSpec
from providers import secrets
from providers.base import Forbidden, NotFound, ProviderError, Refused, Throttled, Transient, Unauthenticated
from providers.calls import CALL_S

Json = dict[str, Any]


class Api:
    """The API at the option ``url``, where the key of a signal is sent in *header*."""

    def __init__(self, spec: SignalSpec, vendor: str, header: str, *, before: str = "", example: str) -> None:
        """*before* stands before the key: ``Bearer``. Raises BadInput without an https URL or without a secret."""
        url = dict(spec.options).get("url", "")
        parts = urlsplit(url)
        if not parts.hostname:
            raise BadInput(f"signal '{spec.id}' does not say where its {vendor} is; write options: {{url: {example}}}")
        if parts.scheme != "https":
            raise BadInput(f"signal '{spec.id}' would send its key in the open; give its {vendor} an https URL")
        if spec.secret is None:
            raise BadInput(f"signal '{spec.id}' has no key for {vendor}; write secret: {{env: NAME}} or {{file: PATH}}")
        self.at = f"{vendor} at {parts.netloc.rpartition('@')[2]}"
        self._signal = f"signal '{spec.id}'"
        self._url = url.rstrip("/")
        self._secret = spec.secret
        self._header = header
        self._before = f"{before} " if before else ""

    async def ask(self, method: str, path: str, *, missing: str, right: str, body: Json | None = None) -> Json:
        """The answer's JSON. *missing* says what a 404 means, *right* what the key must be allowed.

        Raises Transient, Throttled, Unauthenticated, Forbidden, NotFound, Refused; BadInput for a secret that is not
        there.
        """
        headers = {self._header: self._before + secrets.resolve(self._secret)}
        try:
            async with httpx.AsyncClient(timeout=CALL_S, follow_redirects=False) as client:
                answer = await client.request(method, self._url + path, json=body, headers=headers)
        except httpx.LocalProtocolError:
            raise Unauthenticated(
                f"the key of {self._signal} cannot be sent to {self.at}; write it on one line"
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Transient(f"{self.at} cannot be reached ({type(error).__name__})") from None
        if answer.status_code != httpx.codes.OK:
            raise self._refusal(answer.status_code, missing, right)
        try:
            found = json.loads(answer.content)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise self.odd()
        return found

    def odd(self) -> Refused:
        """An answer of another shape."""
        return Refused(f"{self.at} does not answer as its API does; correct the url of {self._signal}")

    def unknown_key(self) -> Unauthenticated:
        return Unauthenticated(f"{self.at} does not take the key of {self._signal}; give it a good one")

    def lacks(self, right: str) -> Forbidden:
        return Forbidden(f"{self.at} does not allow it to the key of {self._signal}; grant it {right}")

    def patience(self) -> Throttled:
        return Throttled(f"{self.at} asks for patience")

    def _refusal(self, status: int, missing: str, right: str) -> ProviderError:
        match status:
            case 401:
                return self.unknown_key()
            case 403:
                return self.lacks(right)
            case 404:
                return NotFound(f"{self.at} has {missing}")
            case 429:
                return self.patience()
            case _ if status >= 500 or status == 408:
                return Transient(f"{self.at} answered {status}")
        return Refused(f"{self.at} answered {status}; correct the url and the target of {self._signal}")
