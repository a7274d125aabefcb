"""What a good file becomes."""

from __future__ import annotations

from orchestrator.config import parse
from orchestrator.config.example import EXAMPLE
from orchestrator.core.topology import Answer, Connection, Header, ProbeKind, ProbeSpec, Secret, SecretSource, Topology


def _probes(topology: Topology, endpoint: str) -> dict[str, ProbeSpec]:
    found = next(each for each in topology.services[0].endpoints if each.id == endpoint)
    return {probe.id: probe for probe in found.probes}


def test_names_are_made_canonical(base: str) -> None:
    """Names become small letters, absolute where DNS wants them; servers get port 53."""
    text = base.replace("chat.example.com\n    probes", "Chat.Example.COM.\n    probes").replace(
        "192.0.2.53:53", "2001:DB8::53\n      key: {name: Failover, secret: {file: /etc/key}}"
    )
    service = parse(text, "x").services[0]
    assert service.name == "chat.example.com"
    assert service.steering is not None
    assert (service.steering.name, service.steering.zone) == ("chat.example.com.", "example.com.")
    assert service.steering.primary == "[2001:db8::53]:53"
    assert service.steering.key is not None
    assert service.steering.key.name == "failover."
    assert service.steering.key.secret == Secret(SecretSource.FILE, "/etc/key")


def test_collections_are_sorted(base: str) -> None:
    """The order of the file does not matter to what it means."""
    topology = parse(base.replace("[192.0.2.1]", "[192.0.2.9, 192.0.2.1, 192.0.2.9]"), "x")
    assert [each.id for each in topology.services[0].endpoints] == ["eu", "us"]
    assert topology.services[0].endpoints[1].answer == Answer("addresses", ("192.0.2.1", "192.0.2.9"))


def test_a_cname_is_absolute(base: str) -> None:
    """A CNAME target gets its trailing dot, as servers give it back."""
    text = base.replace("[192.0.2.1]", "{cname: US.example.com}").replace("[192.0.2.2]", "{cname: eu.example.com.}")
    assert [each.answer for each in parse(text, "x").services[0].endpoints] == [
        Answer("cname", ("eu.example.com.",)),
        Answer("cname", ("us.example.com.",)),
    ]


def test_a_service_without_probes_is_asked_over_http(base: str) -> None:
    """Without probes every endpoint gets one HTTP probe on ``/``, every 2 seconds."""
    probes = _probes(parse(base.replace("    probes:\n      - id: http\n        path: /health\n", ""), "x"), "us")
    assert set(probes) == {"http", "http-as-name"}
    http = probes["http"]
    assert (http.kind, http.path, http.interval_s, http.timeout_s) == (ProbeKind.HTTP, "/", 2.0, 1.5)
    assert http.connection is Connection.KEPT_ALIVE


def test_a_tcp_url_is_asked_by_a_connection(base: str) -> None:
    """An endpoint that speaks no HTTP is asked for a connection, under its own address only."""
    text = base.replace("    probes:\n      - id: http\n        path: /health\n", "")
    probes = _probes(parse(text.replace("https://us.chat.example.com", "tcp://192.0.2.1:9000"), "x"), "us")
    assert [probe.kind for probe in probes.values()] == [ProbeKind.TCP]


def test_endpoints_are_also_asked_as_the_service_name(base: str) -> None:
    """Each endpoint is asked under the moving name too, at a calmer pace, without its own Host and SNI."""
    text = base.replace("path: /health", "path: /health\n        host: other\n        sni: other")
    probe = _probes(parse(text, "x"), "us")["http-as-name"]
    assert (probe.as_name, probe.interval_s, probe.path, probe.host, probe.sni) == (True, 30.0, "/health", None, None)


def test_asking_as_the_name_can_be_tuned_and_turned_off(base: str) -> None:
    """``as_name`` takes an interval, or false."""
    calm = base.replace("    probes:", "    as_name: {interval: 2m}\n    probes:")
    assert _probes(parse(calm, "x"), "us")["http-as-name"].interval_s == 120.0
    off = base.replace("    probes:", "    as_name: false\n    probes:")
    assert set(_probes(parse(off, "x"), "us")) == {"http"}


def test_an_endpoint_at_the_name_itself_needs_no_second_probe(base: str) -> None:
    """Where the URL is the service's own name, the ordinary probe asks under it already."""
    text = base.replace("https://us.chat.example.com", "https://chat.example.com")
    assert set(_probes(parse(text, "x"), "us")) == {"http"}


def test_completions_are_not_copied(base: str) -> None:
    """A service asked by completions alone proves its name by any answer below 500: completions cost money."""
    probes = _probes(parse(base.replace("path: /health", "kind: chat\n        model: m"), "x"), "us")
    assert (probes["http"].interval_s, probes["http"].kind) == (60.0, ProbeKind.CHAT)
    assert probes["http-as-name"].kind is ProbeKind.HTTP
    assert probes["http-as-name"].expect.status == ("1xx", "2xx", "3xx", "4xx")


def test_an_endpoint_changes_its_services_probe_by_id(base: str) -> None:
    """An endpoint's probe with a known id replaces only the fields that it names."""
    text = base.replace("path: /health", "path: /health\n        fall: 5").replace(
        "role: standby", "role: standby\n        probes: [{id: http, path: /eu}, {id: port, kind: tcp}]"
    )
    topology = parse(text, "x")
    assert (_probes(topology, "eu")["http"].path, _probes(topology, "eu")["http"].fall) == ("/eu", 5)
    assert _probes(topology, "us")["http"].path == "/health"
    assert "port" not in _probes(topology, "us")


def test_headers_take_secrets_by_place(base: str) -> None:
    """A header's value is text, or where a secret is."""
    text = base.replace("path: /health", "headers: {X-Trace: 7, Authorization: {env: KEY}}")
    assert _probes(parse(text, "x"), "us")["http"].headers == (
        Header("Authorization", Secret(SecretSource.ENV, "KEY")),
        Header("X-Trace", "7"),
    )


def test_expectations_are_text_that_json_compares(base: str) -> None:
    """``equals: true`` is compared as JSON writes it."""
    text = base.replace("path: /health", "expect: {json: {path: a.0, equals: true}, status: [204, 3xx]}")
    expect = _probes(parse(text, "x"), "us")["http"].expect
    assert (expect.json_path, expect.json_equals, expect.status) == ("a.0", "true", ("204", "3xx"))


def test_fast_confirm_can_be_off(base: str) -> None:
    """``off`` turns fast confirm off, quoted or not."""
    for off in ("off", "'off'", "false"):
        probe = _probes(parse(base.replace("path: /health", f"fast_confirm: {off}"), "x"), "us")["http"]
        assert probe.fast_confirm_s == 0.0


def test_an_endpoint_may_stand_in_a_zone_of_a_region(base: str) -> None:
    """A region in the list covers its zones."""
    parse(base.replace("region: onprem/fra1\n", "region: onprem/fra1/b\n"), "x")


def test_the_example_of_the_reference_page_is_good() -> None:
    """The example that people copy has no mistake."""
    assert parse(EXAMPLE, "x").services[0].policy.rto_s == 60.0
