"""Requests in flight at a model server, by its own count: a page of metrics in Prometheus' text format.

Names of the gauges: vLLM (https://docs.vllm.ai/en/latest/usage/metrics.html), TGI
(https://huggingface.co/docs/text-generation-inference/reference/metrics), SGLang
(https://docs.sglang.io/docs/references/production_metrics), Triton
(https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/metrics.html), llama.cpp
(https://github.com/ggml-org/llama.cpp/tree/master/tools/server#get-metrics-prometheus-compatible-metrics-exporter).
"""

from __future__ import annotations

import asyncio
import math
import re
import ssl
from dataclasses import dataclass
from functools import cache

import httpx

LARGEST = 4_000_000
"""Bytes of a page that are read; a busy vLLM's has some hundred thousand."""


@dataclass(frozen=True, slots=True)
class Gauges:
    """How one kind of server counts."""

    running: str
    """Being answered."""
    waiting: str = ""
    """Taken, and not begun."""
    partial: bool = False
    """It does not count all that is in flight: 0 means nothing."""


KNOWN = (
    Gauges("vllm:num_requests_running", "vllm:num_requests_waiting"),
    Gauges("sglang:num_running_reqs", "sglang:num_queue_reqs"),
    Gauges("tgi_batch_current_size", "tgi_queue_size"),
    Gauges("llamacpp:requests_processing", "llamacpp:requests_deferred"),
    # Triton counts what waits for execution only; what it executes is in no gauge.
    Gauges("nv_inference_pending_request_count", partial=True),
)
_SAMPLE = re.compile(r"^([A-Za-z_:][\w:]*)(?:\{.*\})?[ \t]+(\S+)(?:[ \t]+-?\d+)?[ \t]*$")


async def running(url: str, *, within_s: float = 2.0) -> int | None:
    """Requests in flight by the page of metrics at *url*; None where it cannot be read, or says nothing of them.

    Never raises for what the server does. Servers that say it once for each rank of a model in parallel (SGLang) are
    counted so often: more than there are, never fewer, so that a drain waits rather than cuts.
    """
    try:
        async with asyncio.timeout(within_s):
            text = await _page(url)
    except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, OSError, ValueError):
        return None
    return None if text is None else counted(text)


def counted(text: str) -> int | None:
    """What the page *text* says of requests in flight; None: nothing."""
    samples = _samples(text, {name for each in KNOWN for name in (each.running, each.waiting)})
    for each in KNOWN:
        if each.running not in samples:
            continue
        total = samples[each.running] + samples.get(each.waiting, 0.0)
        if not math.isfinite(total) or total < 0 or (each.partial and total == 0):
            return None
        return math.ceil(total)
    return None


def _samples(text: str, names: set[str]) -> dict[str, float]:
    """The sum of each of *names* over its labels."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        sample = _SAMPLE.match(line)
        if sample is None or sample[1] not in names:
            continue
        try:
            found[sample[1]] = found.get(sample[1], 0.0) + float(sample[2])
        except ValueError:
            found[sample[1]] = math.nan
    return found


async def _page(url: str) -> str | None:
    async with (
        httpx.AsyncClient(timeout=None, verify=_trust(), follow_redirects=False) as client,  # noqa: S113 - the caller's
        client.stream("GET", url, headers={"Accept": "text/plain"}) as response,
    ):
        if response.status_code != 200:
            return None
        found = b""
        async for piece in response.aiter_bytes():
            found += piece
            if len(found) > LARGEST:
                return None
        return found.decode("utf-8", "replace")


@cache
def _trust() -> ssl.SSLContext:
    return httpx.create_ssl_context()
