"""Hooks against a real HTTP server: what it is told, what its answers mean, and what errors never say."""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.config.mistakes import Mistakes
from orchestrator.core.errors import BadInput
from orchestrator.core.topology import Header, Secret, SecretSource
from providers.base import ProviderError, Refused, Throttled, Transient
from providers.hooks.web import QUOTED, call, clean, fits
from real.hook import Answered, Automation, automation
from runbooks.model import CallTask
from runbooks.parse import parse
from runbooks.plan import Hook

FACTS = {"run": "chat-1", "step": "warm", "service": "chat", "source": ["eu"], "target": "us", "kind": "failover"}
TOKEN = "s3cr3t-t0ken/with+signs"


@pytest.fixture
async def there() -> AsyncIterator[Automation]:
    async with automation() as made:
        yield made


@pytest.fixture
def token(tmp_path: Path) -> Header:
    """A header whose value stands in a file."""
    file = tmp_path / "token"
    file.write_text(f"Bearer {TOKEN}\n", encoding="utf-8")
    return Header("Authorization", Secret(SecretSource.FILE, str(file)))


async def test_a_hook_hears_what_the_run_is_about(there: Automation, token: Header) -> None:
    """It gets method, path, the run's facts beside the runbook's own fields, the key and the secret header."""
    hook = Hook(f"{there.url}/warm?pool=gpu", "PUT", (token, Header("X-Team", "infra")), (("size", "large"),))
    said = await call(hook, FACTS, key="chat-1/warm", within_s=5.0)
    assert said == f"PUT {there.url}/warm answered 200"
    [asked] = there.asked
    assert (asked.method, asked.path, asked.body) == ("PUT", "/warm?pool=gpu", {**FACTS, "size": "large"})
    told = {name: asked.headers[name] for name in ("idempotency-key", "authorization", "x-team", "content-type")}
    assert told == {
        "idempotency-key": "chat-1/warm",
        "authorization": f"Bearer {TOKEN}",
        "x-team": "infra",
        "content-type": "application/json",
    }


async def test_a_field_of_the_runbook_does_not_contradict_the_run(there: Automation) -> None:
    """Whatever the runbook writes, target and key are the run's own."""
    hook = Hook(there.url, headers=(Header("idempotency-KEY", "mine"),), data=(("target", "mars"),))
    await call(hook, FACTS, key="k", within_s=5.0)
    assert there.asked[0].body["target"] == "us"
    assert there.asked[0].headers["idempotency-key"] == "k"


async def test_an_answer_that_was_lost_is_asked_for_again_under_the_same_key(there: Automation) -> None:
    """The connection breaks after the thing was done: the retry carries the same key, and it stays done once."""
    there.script = [Answered(lost=True)]
    with pytest.raises(Transient, match="the connection was lost before the answer"):
        await call(Hook(there.url), FACTS, key="chat-1/warm", within_s=5.0)
    await call(Hook(there.url), FACTS, key="chat-1/warm", within_s=5.0)
    assert [asked.headers["idempotency-key"] for asked in there.asked] == ["chat-1/warm"] * 2
    assert list(there.done) == ["chat-1/warm"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, Transient) for status in (502, 503, 504)),
        (429, Throttled),
        *((status, Refused) for status in (301, 400, 401, 404, 409, 500, 501)),
    ],
)
async def test_a_status_says_whether_another_try_may_help(
    there: Automation, status: int, kind: type[Exception]
) -> None:
    """Too many requests and lost gateways are passing trouble; any other answer that is not the wanted one is a no."""
    there.script = [Answered(status, '{"error": "no such pool"}', {"location": f"{there.url}/elsewhere"})]
    with pytest.raises(kind) as caught:
        await call(Hook(f"{there.url}/warm"), FACTS, key="k", within_s=5.0)
    assert type(caught.value) is kind
    assert str(caught.value) == f'POST {there.url}/warm answered {status}: {{"error": "no such pool"}}'
    # A redirect is not followed: the other place was not written down by anybody.
    assert len(there.asked) == 1


async def test_a_server_that_says_when_to_come_back_is_left_in_peace_until_then(there: Automation) -> None:
    """Retry-After: 1 passes before the next try can begin; an hour is not waited for by a step of five seconds."""
    there.script = [Answered(429, "", {"retry-after": "1"}), Answered(503, "", {"retry-after": "3600"})]
    for low in (1.0, 0.0):
        began = time.monotonic()
        with pytest.raises(Transient):
            await call(Hook(there.url), FACTS, key="k", within_s=5.0)
        assert low <= time.monotonic() - began < 4.5


async def test_the_runbook_says_which_answers_mean_done(there: Automation) -> None:
    """409 may mean that it was done before; where only that is wanted, 200 is a no."""
    there.script = [Answered(409)]
    assert "409" in await call(Hook(there.url, status=("2xx", "409")), FACTS, key="k", within_s=5.0)
    with pytest.raises(Refused):
        await call(Hook(there.url, status=("409",)), FACTS, key="k", within_s=5.0)


async def test_an_answer_that_never_comes_ends_with_the_steps_time(there: Automation) -> None:
    """The time covers the whole request, and is passing trouble."""
    there.script = [Answered(never=True)]
    with pytest.raises(Transient, match=r"gave no answer within 0\.2 s|no answer in time"):
        await call(Hook(there.url), FACTS, key="k", within_s=0.2)


async def test_a_server_that_is_not_there_is_passing_trouble() -> None:
    """Nobody listens: the next try may find somebody."""
    with socket.socket() as mine:
        mine.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{mine.getsockname()[1]}/hook"
        with pytest.raises(Transient, match=r"cannot be reached \(no connection\)"):
            await call(Hook(url), FACTS, key="k", within_s=2.0)


async def test_a_secret_that_is_missing_is_said_and_nothing_is_asked(there: Automation, tmp_path: Path) -> None:
    """The sentence names the file; the hook is not called without what it needs."""
    header = Header("Authorization", Secret(SecretSource.FILE, str(tmp_path / "gone")))
    with pytest.raises(BadInput, match="gone"):
        await call(Hook(there.url, headers=(header,)), FACTS, key="k", within_s=2.0)
    assert there.asked == []


async def test_a_secret_with_a_broken_line_is_refused_without_being_shown(there: Automation, tmp_path: Path) -> None:
    """A file that holds two lines makes no header; the error does not repeat it."""
    file = tmp_path / "token"
    file.write_text("first-half\nsecond-half", encoding="utf-8")
    hook = Hook(there.url, headers=(Header("Authorization", Secret(SecretSource.FILE, str(file))),))
    with pytest.raises(Refused) as caught:
        await call(hook, FACTS, key="k", within_s=2.0)
    assert "half" not in str(caught.value)
    assert "half" not in repr(caught.value.__cause__)


@pytest.mark.parametrize("form", ["plain", "json", "late", "twice"])
async def test_a_server_that_repeats_the_secret_does_not_get_it_into_the_error(
    there: Automation, token: Header, form: str
) -> None:
    """However it comes back - as it was, escaped, cut off at the end of what is read - the error does not show it."""
    there.script = [Answered(400)]
    texts = {
        "plain": f"bad token {TOKEN}",
        "json": '{"sent": "' + TOKEN.replace("/", "%2F").replace("+", "%2B") + '"}',
        "late": "Bearer " + TOKEN * 2000,
        "twice": f"{TOKEN} and Bearer {TOKEN}",
    }
    there.echo = lambda _: texts[form]
    with pytest.raises(Refused) as caught:
        await call(Hook(there.url, headers=(token,)), FACTS, key="k", within_s=2.0)
    assert "s3cr3t" not in str(caught.value)
    assert "t0ken" not in str(caught.value)


async def test_an_answer_is_quoted_short_and_on_one_line(there: Automation) -> None:
    """A page of HTML with escapes for the terminal becomes a short line of plain text."""
    there.script = [Answered(500, "\x1b[31m<html>\n" + "x" * 5000)]
    with pytest.raises(Refused) as caught:
        await call(Hook(there.url), FACTS, key="k", within_s=2.0)
    said = str(caught.value).partition(" answered 500: ")[2]
    assert said.isprintable()
    assert len(said) == QUOTED


async def test_the_address_in_an_error_has_no_query(there: Automation) -> None:
    """What stands behind the question mark may be a key."""
    there.script = [Answered(404, "")]
    with pytest.raises(ProviderError) as caught:
        await call(Hook(f"{there.url}/hook?sig=abc123"), FACTS, key="k", within_s=2.0)
    assert str(caught.value) == f"POST {there.url}/hook answered 404"


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        ('headers: {Authorization: "Bearer abc"}', "steps[warm].hook.headers.Authorization: usually holds a secret"),
        ("data: {api_token: abc}", "steps[warm].hook.data.api_token: usually holds a secret"),
        ("data: {api_token: abc}", "send it in a header"),
    ],
)
def test_a_secret_that_stands_in_a_runbook_is_a_mistake(hook: str, said: str) -> None:
    """It would travel with every plan: the runbook is refused, with the place and the cure."""
    head = "apiVersion: failover/v1\nkind: Runbook\nmetadata: {name: mine}\nsteps:\n"
    with pytest.raises(Mistakes) as caught:
        parse(f"{head}  - {{id: warm, type: call, hook: {{url: 'https://h.example.com/', {hook}}}}}\n", "mine.yaml")
    assert said in str(caught.value)


def test_a_secret_that_a_runbook_points_to_is_none() -> None:
    """{env: NAME} says where it is, and every other field is free."""
    head = "apiVersion: failover/v1\nkind: Runbook\nmetadata: {name: mine}\nsteps:\n"
    hook = "{url: 'https://h.example.com/', headers: {Authorization: {env: TOKEN}, X-Team: infra}, data: {pool: gpu}}"
    [step] = parse(f"{head}  - {{id: warm, type: call, hook: {hook}}}\n", "mine.yaml").steps
    assert isinstance(step.task, CallTask)
    assert step.task.hook.headers[0] == Header("Authorization", Secret(SecretSource.ENV, "TOKEN"))


def test_wanted_answers_are_codes_or_classes() -> None:
    """204 fits 204 and 2xx, and not 20x or 404."""
    assert fits(204, "204")
    assert fits(204, "2xx")
    assert not fits(404, "2xx")
    assert not fits(204, "404")


@given(st.text(), st.text(min_size=1), st.text())
def test_no_text_shows_a_secret_of_some_length(before: str, secret: str, after: str) -> None:
    """Whatever stands around it."""
    secret = f"key-{base64.urlsafe_b64encode(secret.encode()).decode()}"
    said = clean(before + secret + after, (secret,))
    assert secret not in said
    assert len(said) <= QUOTED
    assert said.isprintable()
