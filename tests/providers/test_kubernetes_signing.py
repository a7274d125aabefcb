"""How one signs in to a cluster: tokens, plugins, certificates, service accounts, and kubeconfigs that are wrong."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kubernetes.config import incluster_config

from orchestrator.core.topology import Workload
from providers.base import NotFound, Refused, Unauthenticated
from providers.onprem.kubernetes import session
from providers.onprem.kubernetes.workload import KubernetesWorkload
from real.kubernetes import kubeconfig
from real.kubernetes_places import KubernetesPlace, workload
from wire.kubernetes import ApiServer, Front


@pytest.fixture(autouse=True)
def nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cluster of whoever tests is met."""
    monkeypatch.setenv("KUBECONFIG", "/nowhere/kubeconfig")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


@pytest.fixture
async def place() -> AsyncIterator[KubernetesPlace]:
    made = KubernetesPlace("deployment")
    try:
        await made.open()
        yield made
    finally:
        await asyncio.to_thread(made.close)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A certificate of 127.0.0.1, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "made for a test")])
    today = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    home = tmp_path_factory.mktemp("tls")
    (home / "ca.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (home / "key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(home / "ca.crt", home / "key")
    return home / "ca.crt", context


@pytest.fixture
def front(certificate: tuple[Path, ssl.SSLContext]) -> Iterator[Front]:
    """A cluster behind TLS that one token may ask: `good`."""
    cluster = ApiServer().start()
    cluster.create("deployments", "chat", workload(2))
    made = Front(cluster.answer, context=certificate[1]).start()
    made.tokens = {"good"}
    yield made
    made.close()
    cluster.close()


class Written(Protocol):
    def __call__(self, user: dict[str, Any], *, trusts: str = ...) -> Workload: ...


@pytest.fixture
def signing(front: Front, certificate: tuple[Path, ssl.SSLContext], tmp_path: Path) -> Written:
    """Write a kubeconfig with this user; returns the handle that uses it."""

    def write(user: dict[str, Any], *, trusts: str = str(certificate[0])) -> Workload:
        path = tmp_path / "kubeconfig"
        path.write_text(kubeconfig({"server": front.url} | ({"certificate-authority": trusts} if trusts else {}), user))
        return Workload("kubernetes", "chat/deployment/llm", 2, 1, (("kubeconfig", str(path)),))

    return write


async def test_a_token_is_read_anew_when_it_was_changed(signing: Written) -> None:
    """Who signs in again need not restart a worker."""
    with pytest.raises(Unauthenticated, match=r"kubeconfig does not accept the credentials.*sign in again") as told:
        await KubernetesWorkload(signing({"token": "stale"})).read()
    assert "stale" not in str(told.value)
    assert (await KubernetesWorkload(signing({"token": "good"})).read()).desired == 2


async def test_a_kubeconfig_that_changed_is_followed(place: KubernetesPlace) -> None:
    """Its context names another cluster now."""
    control = place.workload()
    assert (await control.read()).desired == 2
    cluster = ApiServer().start()
    cluster.create("deployments", place.namespace, workload(3))
    other = Front(cluster.answer).start()
    place.kubeconfig.write_text(kubeconfig({"server": other.url}, {}))
    try:
        assert (await control.read()).desired == 3
    finally:
        other.close()
        cluster.close()


async def test_a_file_with_a_token_is_read_anew_when_the_token_is_refused(
    signing: Written, front: Front, tmp_path: Path
) -> None:
    """The kubeconfig is the same, and the token in the file that it names is another."""
    (tmp_path / "token").write_text("good")
    control = KubernetesWorkload(signing({"tokenFile": str(tmp_path / "token")}))
    assert (await control.read()).desired == 2
    (tmp_path / "token").write_text("better")
    front.tokens = {"better"}
    assert (await control.read()).desired == 2


def test_a_client_that_was_made_anew_meanwhile_is_kept(signing: Written) -> None:
    """Of several calls that were refused at once, one makes it anew: a plugin is not run for each."""
    path = dict(signing({"token": "good"}).options)["kubeconfig"]
    first = session.client(path)
    session.forget(path, "", first)
    second = session.client(path)
    session.forget(path, "", first)
    assert second is not first
    assert session.client(path) is second


async def test_a_plugin_for_credentials_is_run(signing: Written, front: Front, tmp_path: Path) -> None:
    """As `kubectl` runs it; and again when what it gave is refused."""
    plugin = tmp_path / "plugin"
    plugin.write_text(
        f"#!{sys.executable}\nimport json\ntoken = open({str(tmp_path / 'said')!r}).read()\n"
        "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', 'kind': 'ExecCredential',"
        " 'status': {'token': token}}))\n"
    )
    plugin.chmod(0o755)
    (tmp_path / "said").write_text("good")
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin)}}
    control = KubernetesWorkload(signing(user))
    assert (await control.read()).desired == 2
    (tmp_path / "said").write_text("better")
    front.tokens = {"better"}
    assert (await control.read()).desired == 2


async def test_a_plugin_that_hangs_holds_up_its_own_cluster_only(
    signing: Written, place: KubernetesPlace, tmp_path: Path
) -> None:
    """Another context is asked meanwhile, and the call gives up at its deadline."""
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sleep", "args": ["3"]}}
    hanging = asyncio.create_task(KubernetesWorkload(signing(user)).read())
    await asyncio.sleep(0.2)
    assert (await place.workload().read()).desired == 2
    assert not hanging.done()
    hanging.cancel()


async def test_a_plugin_that_fails_is_named(signing: Written) -> None:
    """The SDK would go on as nobody, and be told that nobody may not."""
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/nowhere/get-token"}}
    with pytest.raises(Unauthenticated, match=r"the command '/nowhere/get-token'.*run it by hand"):
        await KubernetesWorkload(signing(user)).read()


async def test_a_certificate_that_is_not_trusted_is_told(signing: Written) -> None:
    """It is no failure that passes: the kubeconfig names the wrong authority, or somebody stands between."""
    handle = signing({"token": "good"}, trusts="")
    with pytest.raises(Refused, match="certificate-authority"):
        await KubernetesWorkload(handle).read()


async def test_plain_http_gets_no_credentials(place: KubernetesPlace) -> None:
    """A token in the open is anybody's."""
    await place.workload().read()
    assert not [each for each in place.front.seen if "authorization" in {name.lower() for name in each.headers}]


async def test_in_a_cluster_the_service_account_is_used(
    front: Front, certificate: tuple[Path, ssl.SSLContext], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without options, and only then: an option names another cluster."""
    (tmp_path / "token").write_text("good")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(certificate[0]))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", front.url.rpartition(":")[2])
    handle = Workload("kubernetes", "chat/deployment/llm", 2, 1)
    assert (await KubernetesWorkload(handle).read()).desired == 2
    with pytest.raises(NotFound, match="/nowhere/kubeconfig"):
        await KubernetesWorkload(replace(handle, options=(("context", "other"),))).read()


@pytest.mark.parametrize(
    ("text", "context", "error", "said"),
    [
        (None, "", NotFound, "there is no kubeconfig at"),
        (
            kubeconfig({"server": "https://127.0.0.1:1"}, {}),
            "nix",
            NotFound,
            "no context is called 'nix'.*one of: here",
        ),
        ("{{ not: yaml", "", Unauthenticated, "cannot be used"),
        ('{"users": [{"name": "u", "user": {"token": "s3cret"}}]}', "", NotFound, "has no current context"),
        (
            kubeconfig({"server": "https://127.0.0.1:1"}, {"token": "s3cret", "client-certificate": "/nowhere/crt"}),
            "",
            Unauthenticated,
            "the current context of .*cannot be used",
        ),
    ],
)
async def test_a_kubeconfig_that_cannot_be_used_is_named(
    tmp_path: Path, text: str | None, context: str, error: type[Exception], said: str
) -> None:
    """The file is named, and nothing of what it holds."""
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    options = (("context", context), ("kubeconfig", str(path)))
    with pytest.raises(error, match=said) as told:
        await KubernetesWorkload(Workload("kubernetes", "chat/deployment/llm", 2, 1, options)).read()
    assert str(path) in str(told.value)
    assert "s3cret" not in str(told.value)
