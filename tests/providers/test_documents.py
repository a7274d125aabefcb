"""Routing documents: what is special to each place, and what the contract of shares does not ask."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.errors import BadFence, BadInput
from orchestrator.core.steering import Routing
from providers import registry
from providers.base import (
    ChangedOutside,
    Forbidden,
    NotFound,
    Refused,
    StaleGeneration,
    Throttled,
    Transient,
    Unauthenticated,
)
from providers.catalog import Part, domain
from providers.documents.places import document
from providers.documents.steering import KINDS, DocumentSteering
from providers.fenced import Document, Overtaken, prove
from real.document_places import (
    FIRST,
    STEERED,
    DocumentPlace,
    S3Place,
    StorePlace,
    spec_of,
)
from real.document_places import KINDS as STORES
from real.interleaving import TARGETS, Actor, Fate, Land, LandDocument, play
from real.place import change
from real.saboteur import Mischief, Reply
from wire.http import Request
from wire.stores import HttpStore, header

DOCUMENTS = sorted(name for name in STEERED if name.startswith("document-"))


@pytest.fixture(params=DOCUMENTS)
async def place(request: pytest.FixtureRequest) -> AsyncIterator[DocumentPlace]:
    made = STEERED[request.param]()
    assert isinstance(made, DocumentPlace)
    try:
        await made.open()
        yield made
    finally:
        await asyncio.to_thread(made.close)


@pytest.fixture
async def s3() -> AsyncIterator[S3Place]:
    made = S3Place()
    await made.open()
    yield made
    made.close()


@pytest.fixture
def http() -> Iterator[HttpStore]:
    store = HttpStore()
    store.start()
    yield store
    store.close()


def fence_at(place: str, **options: str) -> Document:
    return document(spec_of("haproxy", fence=place, **options))


def beside(place: DocumentPlace) -> Document:
    """A document that is not there yet, in the same store."""
    options = {name: f"{value}-fence" if name == "document" else value for name, value in place.spec.options}
    return document(replace(place.spec, options=tuple(sorted(options.items()))))


async def test_a_fence_is_made_where_none_stood_and_by_one_writer_only(place: DocumentPlace) -> None:
    """The first write is a compare with nothing: of two who saw nothing one is told."""
    fence = beside(place)
    assert (await fence.read()).text is None
    await fence.put("one", tag=None)
    with pytest.raises(Overtaken):
        await fence.put("two", tag=None)
    assert (await fence.read()).text == "one"


async def test_a_document_is_replaced_by_its_tag_and_by_no_older_one(place: DocumentPlace) -> None:
    """Tags change with the text; an older one and one of nowhere replace nothing."""
    fence = beside(place)
    await fence.put("one", tag=None)
    first = await fence.read()
    await fence.put("zwei, für alle", tag=first.tag)
    second = await fence.read()
    assert (second.text, second.tag != first.tag) == ("zwei, für alle", True)
    with pytest.raises(Overtaken):
        await fence.put("three", tag=first.tag)
    assert await fence.read() == second


async def test_a_document_that_is_gone_is_not_made_anew_by_its_tag(place: DocumentPlace) -> None:
    """Who read a document and finds none has been overtaken."""
    tag = (await document(place.spec).read()).tag
    with pytest.raises(Overtaken):
        await beside(place).put("again", tag=tag)
    assert (await beside(place).read()).text is None


async def test_many_writers_of_one_tag_have_one_winner(place: DocumentPlace) -> None:
    """The store decides, not the order of reading."""
    fence = beside(place)
    await fence.put("zero", tag=None)
    tag = (await fence.read()).tag
    outcomes = await asyncio.gather(
        *(beside(place).put(f"writer {index}", tag=tag) for index in range(6)), return_exceptions=True
    )
    assert sum(outcome is None for outcome in outcomes) == 1
    assert all(outcome is None or isinstance(outcome, Overtaken) for outcome in outcomes)
    assert (await fence.read()).text == f"writer {outcomes.index(None)}"


async def test_what_else_stands_in_the_document_is_left_alone(place: Any) -> None:
    """Where targets are reached is the owner's, before adopting and after a move."""
    steering = place.steering()
    routing = await steering.read()
    for eu, us, run in ((100, 0, "adopt"), (0, 100, "run-1")):
        routing = await steering.write(change(place, routing, eu, us, run=run))
    whole = json.loads(place.text())
    assert whole == {
        **FIRST,
        "shares": {"ohio": 100},
        "failover": "v=1 gen=2 run=run-1 step=steer w=eu:0,us:100 l=1:adopt/steer",
    }


@pytest.mark.parametrize(
    "text", ["", "off", "[]", "{}", '{"shares": {"eu": 1.5}}', '{"failover": "x", "shares": {"eu": 1}}', "[" * 60_000]
)
async def test_a_text_that_is_no_routing_document_is_told_and_left(text: str) -> None:
    """Read, it is a bad fence; written, it is somebody's edit."""
    place = StorePlace(STORES["document-http"])
    await place.open()
    step = change(place, await place.steering().read(), 0, 100)
    place.edit(text)
    with pytest.raises(BadFence):
        await place.steering().read()
    with pytest.raises(ChangedOutside) as told:
        await place.steering().write(step)
    assert "\n" not in str(told.value)
    assert place.text() == text
    assert (await place.steering().answers())[0].error
    place.close()


async def test_a_document_in_a_store_that_is_not_there_says_what_to_make() -> None:
    """A bucket, a container, a folder: each is named."""
    for name in ("document-gcs", "document-blob"):
        made = StorePlace(STORES[name])
        await made.open()
        options = dict(made.spec.options)
        options["document"] = options["document"].replace("/routes/", "/nothing/")
        elsewhere = document(replace(made.spec, options=tuple(sorted(options.items()))))
        for act in (elsewhere.read(), elsewhere.put("x", tag=None)):
            with pytest.raises(NotFound, match=r"there is no (bucket|container) nothing"):
                await act
        made.close()


async def test_a_bucket_that_is_not_there_is_named(s3: S3Place) -> None:
    """S3 says NoSuchBucket to the reader and to the writer."""
    options = {**dict(s3.spec.options), "document": "s3://no-such-bucket-here/key"}
    elsewhere = document(replace(s3.spec, options=tuple(sorted(options.items()))))
    for act in (elsewhere.read(), elsewhere.put("x", tag=None)):
        with pytest.raises(NotFound, match="there is no bucket no-such-bucket-here in eu-west-1"):
            await act


@pytest.mark.parametrize(
    ("status", "code", "error", "says"),
    [
        (409, "ConditionalRequestConflict", Overtaken, ""),
        (412, "PreconditionFailed", Overtaken, ""),
        (404, "NoSuchKey", Overtaken, ""),
        (503, "SlowDown", Throttled, "patience"),
        (503, "ServiceUnavailable", Transient, ""),
        (403, "AccessDenied", Forbidden, ""),
        (403, "InvalidAccessKeyId", Unauthenticated, ""),
    ],
)
async def test_what_s3_answers_to_a_write_is_told_as_what_to_do(
    s3: S3Place, status: int, code: str, error: type[Exception], says: str
) -> None:
    """The codes of PutObject's reference, each as one of our errors."""
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    fence = beside(s3)
    s3.way.mischief.append(Mischief(lambda method, _p, _b: method == "PUT", 1, Reply(status, body)))
    with pytest.raises(error, match=says or None):
        await fence.put("x", tag=None)


async def test_a_lease_on_a_blob_is_no_rival() -> None:
    """412 says several things at Azure: only an unmet condition is somebody's write."""
    made = StorePlace(STORES["document-blob"])
    await made.open()
    leased = Reply(412, headers=(("x-ms-error-code", "LeaseIdMissing"),))
    made.store.mischief.append(Mischief(lambda method, _p, _b: method == "PUT", 1, leased))
    with pytest.raises(Refused, match="LeaseIdMissing"):
        await beside(made).put("x", tag=None)
    made.close()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, Refused),
        (400, Refused),
        (401, Unauthenticated),
        (403, Forbidden),
        (408, Transient),
        (410, NotFound),
        (429, Throttled),
        (500, Transient),
        (502, Transient),
        (503, Transient),
        (504, Transient),
    ],
)
async def test_every_status_is_an_error_that_says_what_to_do(
    http: HttpStore, status: int, error: type[Exception]
) -> None:
    """No status is taken for success, and none shows the server's text."""
    fence = fence_at(f"{http.url}/routes/x?sig=secret-of-somebody")
    http.mischief.append(Mischief(lambda method, _p, _b: method == "PUT", 1, Reply(status, b"hush, a secret" * 9000)))
    with pytest.raises(error) as told:
        await fence.put("x", tag=None)
    assert "secret" not in str(told.value)


async def test_a_server_that_asks_for_patience_by_503_is_throttling(http: HttpStore) -> None:
    """Retry-After makes it a wish, not a failure."""
    reply = Reply(503, headers=(("Retry-After", "3"),))
    http.mischief.append(Mischief(lambda method, _p, _b: method == "PUT", 1, reply))
    with pytest.raises(Throttled):
        await fence_at(f"{http.url}/routes/x").put("x", tag=None)


class Careless(HttpStore):
    """It takes every PUT, as many web servers do."""

    def __init__(self, ignores: str) -> None:
        super().__init__()
        self.ignores = ignores

    def answer(self, request: Request) -> Reply:
        headers = {name: value for name, value in request.headers.items() if name.lower() != self.ignores}
        return super().answer(replace(request, headers=headers))


@pytest.mark.parametrize("ignores", ["if-match", "if-none-match"])
async def test_a_server_that_does_not_compare_is_found_out_when_it_is_adopted(ignores: str, tmp_path: Path) -> None:
    """Nobody can tell such a server from another by looking: it is tried, with the text that stands there."""
    store = Careless(ignores)
    store.start()
    text = json.dumps(FIRST).encode()
    store.keep("/routes/chat.json", text)
    steering = registry.steering(spec_of("document-http", document=f"{store.url}/routes/chat.json"))
    place = StorePlace(STORES["document-http"])
    with pytest.raises(Refused, match=r"does not compare .* no fence holds there"):
        await steering.write(change(place, await steering.read(), 100, 0, run="adopt"))
    assert store.kept["/routes/chat.json"].text == text
    fence = fence_at(f"{store.url}/routes/fence.json")
    await fence.put("one", tag=None)
    with pytest.raises(Refused, match="does not compare"):
        await prove(fence)
    await prove(fence_at(f"file:{tmp_path}/not-there-yet"))
    store.close()


@pytest.mark.parametrize("tag", [None, 'W/"weak"'])
async def test_a_server_without_strong_etags_keeps_no_fence(http: HttpStore, tag: str | None) -> None:
    """If-Match compares strong tags only, so that a weak one would never be replaced."""
    headers = (("ETag", tag),) if tag else ()
    http.mischief.append(Mischief(lambda _m, _p, _b: True, 1, Reply(200, b"{}", headers)))
    with pytest.raises(Refused, match="no strong ETag"):
        await fence_at(f"{http.url}/routes/x").read()


async def test_a_document_too_large_is_not_read_to_its_end(http: HttpStore) -> None:
    """A routing document has hundreds of bytes."""
    http.keep("/routes/x", b"x" * 70_000)
    with pytest.raises(Refused, match="more than 65536 bytes"):
        await fence_at(f"{http.url}/routes/x").read()


async def test_a_login_is_sent_as_it_was_found_and_never_told(
    http: HttpStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From the environment or a file, read at each call, so that a new one is taken at once."""
    monkeypatch.setenv("ROUTES_LOGIN", "Bearer hush-1")
    (tmp_path / "login").write_text("Basic hush-2\n")
    for pointer, sent in (("env:ROUTES_LOGIN", "Bearer hush-1"), (f"file:{tmp_path}/login", "Basic hush-2")):
        await fence_at(f"{http.url}/routes/x", fence_login=pointer).read()
        assert header(http.seen[-1], "authorization") == sent
    http.mischief.append(Mischief(lambda _m, _p, _b: True, 9, Reply(401)))
    with pytest.raises(Unauthenticated) as told:
        await fence_at(f"{http.url}/routes/x", fence_login="env:ROUTES_LOGIN").read()
    assert "hush" not in str(told.value)


async def test_a_login_that_is_not_there_is_told_by_its_name(http: HttpStore) -> None:
    """The worker lacks a secret: stop, and mend it."""
    with pytest.raises(Unauthenticated, match="environment variable NOT_SET_ANYWHERE is not set on this worker"):
        await fence_at(f"{http.url}/routes/x", fence_login="env:NOT_SET_ANYWHERE").read()
    assert not http.seen


async def test_a_login_of_the_steering_itself_is_not_sent_to_the_fences_store(http: HttpStore) -> None:
    """Whoever reads the fence has no business with a load balancer's password."""
    await fence_at(f"{http.url}/routes/x", login="env:NOT_EVEN_SET", endpoint="http://elsewhere").read()
    assert header(http.seen[-1], "authorization") is None


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "say where in options.fence"),
        ({"fence": "chat.json"}, "is no place for a document"),
        ({"fence": "ftp://host/chat.json"}, "is no place for a document"),
        ({"fence": "file:chat.json"}, "by its whole path"),
        ({"fence": "file://elsewhere/chat.json"}, "of this host"),
        ({"fence": "file:/"}, "by its whole path"),
        ({"fence": "https:///path"}, "names no host"),
        ({"fence": "https://[::1"}, "is no address"),
        ({"fence": "https://me:hush@host/path"}, "holds a login"),
        ({"fence": "http://routes.example.com/x", "fence_login": "env:LOGIN"}, "in clear text"),
        ({"fence": "https://host/x", "fence_login": "hush"}, "env:NAME or file:/path"),
        ({"fence": "s3://bucket"}, "must be s3://bucket/key"),
        ({"fence": "s3://bucket/key"}, "in which region"),
        ({"fence": "gs://bucket/"}, "must be gs://bucket/object"),
        ({"fence": "azblob://account/container"}, "must be azblob://account/container/blob"),
    ],
)
def test_a_place_that_is_none_says_how_to_write_it(options: dict[str, str], says: str) -> None:
    """The sentence names the option, and shows no login."""
    with pytest.raises(BadInput, match=says) as told:
        document(spec_of("haproxy", **options))
    assert "hush" not in str(told.value)


def test_each_place_has_its_own_provider() -> None:
    """What the document's loss depends on is known by the provider's name alone."""
    for provider, schemes in KINDS.items():
        found = registry.entry(Part.STEERING, provider)
        assert {option.name for option in found.options if option.required} >= {"document"}
        for scheme in {"file", "https", "s3", "gs", "azblob"} - schemes:
            with pytest.raises(BadInput, match=f"which {provider} does not steer"):
                registry.steering(spec_of(provider, document=f"{scheme}://a/b/c", region="x"))
    plane = registry.entry(Part.STEERING, "document-s3").planes[0]
    assert domain(plane, (("region", "eu-west-1"),)) == "aws/eu-west-1"


def document_writer(land: Land) -> DocumentSteering:
    return DocumentSteering(spec_of("memory"), LandDocument(land))


BURSTS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6), st.sampled_from(list(Fate))), max_size=9)
MOVES = st.lists(
    st.sampled_from([{"eu": 100}, {"us": 100}, {"eu": 95, "us": 5}, {"us": 50, "ap": 50}]), min_size=2, max_size=3
)


@given(MOVES, BURSTS)
@settings(max_examples=200, deadline=None)
def test_documents_have_one_winner_for_each_generation_however_writers_fare(
    moves: list[dict[str, int]], bursts: list[tuple[int, int, Fate]]
) -> None:
    """Races, lost replies, deaths, and steps that other workers carry on: every outcome told is true."""
    land = Land(text='{"shares": {"eu": 100}}')
    actors = [Actor(land, f"run-{index}", to, steering=document_writer) for index, to in enumerate(moves)]
    play(actors, [(who, each) for who, fine, last in bursts for each in (*[Fate.FINE] * fine, last)])
    heirs = [Actor(land, dead.run, dead.to, dead.change, steering=document_writer) for dead in actors if dead.dead]
    play(heirs, [])
    assert [generation for generation, _ in land.wrote] == list(range(1, len(land.wrote) + 1))
    for actor in (*actors, *heirs):
        if actor.dead or actor.change is None:
            continue
        landed = (actor.change.fence.generation, actor.change.fence.token) in land.wrote
        assert isinstance(actor.outcome, Routing | StaleGeneration)
        assert landed == (isinstance(actor.outcome, Routing) or "after this write had landed" in str(actor.outcome))
    fence, answer = land.says
    last = next(actor for actor in (*heirs, *actors) if actor.run == fence.run and actor.change)
    assert last.change is not None
    assert answer == last.change.answer
    assert set(TARGETS) == {name for name, _ in fence.weights}


async def test_a_fence_that_was_taken_out_of_the_document_is_told() -> None:
    """A person who published the document anew without it has started another history."""
    made = StorePlace(STORES["document-http"])
    await made.open()
    steering = made.steering()
    adopted = await steering.write(change(made, await steering.read(), 100, 0, run="adopt"))
    made.edit(json.dumps(FIRST))
    with pytest.raises(StaleGeneration, match="is gone, where generation 1 was expected: adopt the service again"):
        await steering.write(change(made, adopted, 0, 100))
    made.close()


def client_of_the_page() -> Callable[[str, float], Any]:
    """The class that ``docs/steering-documents.md`` shows."""
    page = (Path(__file__).parents[2] / "docs" / "steering-documents.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(page.partition("```python\n")[2].partition("```")[0], names)  # noqa: S102 - our own page
    routes: Callable[[str, float], Any] = names["Routes"]
    return routes


async def test_the_client_of_the_page_follows_the_document_and_keeps_it_through_silence(http: HttpStore) -> None:
    """It goes where the shares say, asks with the tag, and takes neither silence nor nonsense for an answer."""
    where = {"paris": "https://paris.example", "ohio": "https://ohio.example"}
    http.keep("/routes/chat.json", json.dumps({"shares": {"paris": 100}, "where": where}).encode())
    routes = client_of_the_page()(f"{http.url}/routes/chat.json", 0.0)

    async def picked() -> set[str]:
        return {await asyncio.to_thread(routes.pick) for _ in range(40)}

    assert await picked() == {where["paris"]}
    assert header(http.seen[-1], "if-none-match") == http.kept["/routes/chat.json"].etag
    http.keep("/routes/chat.json", json.dumps({"shares": {"ohio": 50, "paris": 50}, "where": where}).encode())
    assert await picked() == set(where.values())
    nonsenses: tuple[object, ...] = ({"shares": {}, "where": where}, {"shares": {"mars": 1}, "where": where}, [], {})
    for nonsense in nonsenses:
        http.keep("/routes/chat.json", json.dumps({"shares": {"ohio": 100}, "where": where}).encode())
        assert await picked() == {where["ohio"]}
        http.keep("/routes/chat.json", json.dumps(nonsense).encode())
        assert await picked() == {where["ohio"]}
    http.leave()
    assert await picked() == {where["ohio"]}
