"""Requests in flight at a model server, by its own count: a page of metrics in Prometheus' text format.

Names of the gauges: vLLM (https://docs.vllm.ai/en/latest/usage/metrics.html), TGI
(https://huggingface.co/docs/text-generation-inference/reference/metrics), SGLang
(https://docs.sglang.io/docs/references/production_metrics), Triton
(https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/metrics.html), TensorRT-LLM
(https://github.com/triton-inference-server/tensorrtllm_backend#triton-metrics), llama.cpp
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
    """How one kind of server counts. A gauge is a name, or ``name{label="value"}`` where one label tells them apart."""

    running: str
    """Being answered. A page without it is another server's."""
    waiting: tuple[str, ...] = ()
    """Taken, and not begun."""
    partial: bool = False
    """It does not count all that is in flight: 0 means nothing."""


_PENDING = "nv_inference_pending_request_count"
KNOWN = (
    Gauges("vllm:num_requests_running", ("vllm:num_requests_waiting",)),
    Gauges("sglang:num_running_reqs", ("sglang:num_queue_reqs",)),
    Gauges("tgi_batch_current_size", ("tgi_queue_size",)),
    Gauges("llamacpp:requests_processing", ("llamacpp:requests_deferred",)),
    Gauges("trtllm_num_requests_running", ("trtllm_num_requests_waiting",)),
    Gauges(
        'nv_trt_llm_request_metrics{request_type="scheduled"}',
        ('nv_trt_llm_request_metrics{request_type="waiting"}', _PENDING),
    ),
    # Triton itself counts what waits for execution only; what other backends execute is in no gauge.
    Gauges(_PENDING, partial=True),
)
_SAMPLE = re.compile(r"^([A-Za-z_:][\w:]*)(\{.*\})?[ \t]+(\S+)(?:[ \t]+-?\d+)?[ \t]*$")


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
    samples = _samples(text)
    for each in KNOWN:
        begun = _sum(samples, each.running)
        if begun is None:
            continue
        total = begun + sum(_sum(samples, gauge) or 0.0 for gauge in each.waiting)
        if not math.isfinite(total) or total < 0 or (each.partial and total == 0):
            return None
        return math.ceil(total)
    return None


def _samples(text: str) -> list[tuple[str, str, float]]:
    """Name, labels and value of each sample that some server counts by."""
    names = {gauge.partition("{")[0] for each in KNOWN for gauge in (each.running, *each.waiting)}
    found: list[tuple[str, str, float]] = []
    for line in text.splitlines():
        sample = _SAMPLE.match(line)
        if sample is None or sample[1] not in names:
            continue
        try:
            found.append((sample[1], sample[2] or "", float(sample[3])))
        except ValueError:
            found.append((sample[1], sample[2] or "", math.nan))
    return found


def _sum(samples: list[tuple[str, str, float]], gauge: str) -> float | None:
    """What *gauge* says, over all its other labels; None where it is not on the page."""
    name, _, label = gauge.rstrip("}").partition("{")
    values = [value for each, labels, value in samples if each == name and label in labels]
    return sum(values) if values else None


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
