"""Requests in flight by a model server's page of metrics: each server's names, and what is no count."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from providers.inflight import LARGEST, counted, running
from real.ports import free_port
from real.saboteur import Reply
from wire.http import Request, Wire

VLLM = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="meta-llama/Llama-3.1-8B-Instruct"} 3.0
vllm:num_requests_running{engine="1",model_name="meta-llama/Llama-3.1-8B-Instruct"} 1.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="meta-llama/Llama-3.1-8B-Instruct"} 2.0
vllm:num_requests_waiting{engine="1",model_name="meta-llama/Llama-3.1-8B-Instruct"} 0.0
# TYPE vllm:num_requests_waiting_by_reason gauge
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 2.0
vllm:generation_tokens_total{engine="0"} 1.1e+06
"""
SGLANG = """\
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{model_name="qwen",tp_rank="0"} 4.0
# TYPE sglang:num_queue_reqs gauge
sglang:num_queue_reqs{model_name="qwen",tp_rank="0"} 7.0
sglang:token_usage{model_name="qwen"} 0.28
"""
TGI = """\
# TYPE tgi_batch_current_size gauge
tgi_batch_current_size 4
# TYPE tgi_queue_size gauge
tgi_queue_size 5
tgi_request_count{method="generate"} 900
"""
LLAMA = """\
# HELP llamacpp:requests_processing Number of requests processing.
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 1
# HELP llamacpp:requests_deferred Number of requests deferred.
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred 2
"""
TRITON = """\
# HELP nv_inference_pending_request_count Instantaneous number of pending requests awaiting execution per-model.
# TYPE nv_inference_pending_request_count gauge
nv_inference_pending_request_count{model="llama",version="1"} 6
nv_inference_pending_request_count{model="rerank",version="1"} 1
nv_inference_request_success{model="llama",version="1"} 12345
"""
TENSORRT = """\
# HELP nv_trt_llm_request_metrics TRT LLM request metrics
# TYPE nv_trt_llm_request_metrics gauge
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="waiting",version="1"} 3
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="context",version="1"} 1
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="scheduled",version="1"} 4
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="max",version="1"} 512
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="active",version="1"} 7
nv_inference_pending_request_count{model="ensemble",version="1"} 2
"""


@pytest.mark.parametrize(
    ("page", "count"),
    [(VLLM, 6), (SGLANG, 11), (TGI, 9), (LLAMA, 3), (TRITON, 7), (TENSORRT, 9)],
    ids=["vllm", "sglang", "tgi", "llama", "triton", "tensorrt"],
)
def test_each_server_is_counted_by_its_own_names(page: str, count: int) -> None:
    """Running and waiting, over all engines and models of the page."""
    assert counted(page) == count


def test_an_idle_server_has_none_in_flight() -> None:
    """Nought is a count where the server counts everything."""
    for page in (VLLM, SGLANG, TGI, LLAMA, TENSORRT):
        idle = "\n".join(line if line.startswith("#") else f"{line.rsplit(' ', 1)[0]} 0" for line in page.splitlines())
        assert counted(idle) == 0


def test_a_count_of_the_waiting_alone_is_no_proof_of_silence() -> None:
    """Triton does not count what it executes: with nobody waiting nobody can tell."""
    assert counted(TRITON.replace(" 6\n", " 0\n").replace(" 1\n", " 0\n")) is None


def test_ranks_in_parallel_are_counted_more_often_never_less() -> None:
    """A drain that waits too long loses no answer."""
    assert counted(SGLANG + SGLANG.replace('tp_rank="0"', 'tp_rank="1"')) == 22


@pytest.mark.parametrize(
    "page",
    [
        "",
        "<html>log in</html>",
        "process_cpu_seconds_total 3",
        "# vllm:num_requests_running 3",
        "vllm:num_requests_running_total 3",
        "vllm:num_requests_waiting 3",
        "vllm:num_requests_running NaN",
        "vllm:num_requests_running +Inf",
        "vllm:num_requests_running -1",
        "vllm:num_requests_running many",
    ],
)
def test_what_is_no_count_is_told_as_none(page: str) -> None:
    """None is no nought: nobody is cut off by a page that says nothing."""
    assert counted(page) is None


def test_labels_may_hold_anything() -> None:
    """Braces and spaces in a label, and a time behind the value."""
    assert counted('vllm:num_requests_running{model_name="a} 9 {b"} 2 1700000000000') == 2


class Metrics(Wire):
    page = VLLM
    status = 200
    hold_s = 0.0

    def answer(self, request: Request) -> Reply:
        time.sleep(self.hold_s)
        return Reply(self.status if request.path == "/metrics" else 404, self.page.encode())


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    server = Metrics()
    server.start()
    yield server
    server.close()


async def test_a_page_is_read_from_the_server(metrics: Metrics) -> None:
    """The address is that of the page."""
    assert await running(f"{metrics.url}/metrics") == 6


async def test_a_page_that_cannot_be_read_is_none(metrics: Metrics) -> None:
    """Nobody listens, nothing there, a refusal, no address, too large: none of it raises."""
    assert await running(f"http://127.0.0.1:{free_port()}/metrics") is None
    assert await running(f"{metrics.url}/nothing") is None
    assert await running("no address") is None
    assert await running("http://[::1") is None
    metrics.status = 401
    assert await running(f"{metrics.url}/metrics") is None
    metrics.status, metrics.page = 200, VLLM + "#" * LARGEST
    assert await running(f"{metrics.url}/metrics") is None


async def test_a_server_that_hangs_is_given_up_in_time(metrics: Metrics) -> None:
    """The caller's time is kept, and the loop goes on meanwhile."""
    metrics.hold_s = 1.0
    begun = asyncio.get_running_loop().time()
    assert await running(f"{metrics.url}/metrics", within_s=0.1) is None
    assert asyncio.get_running_loop().time() - begun < 0.6
