"""What is sent to the stores of Google and Azure to say who we are, and to whom it is not sent."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from providers.base import NotFound, Transient, Unauthenticated
from providers.documents import tokens, web
from providers.documents.places import document
from providers.documents.settings import Settings
from providers.fenced import Document
from real.document_places import spec_of
from wire.stores import BlobStore, GcsStore, Store, header


@pytest.fixture
def over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Store], str]:
    """Let a store speak TLS with a certificate that the product's client trusts; its address."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "store")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "store.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    trusted = httpx.Client(verify=ssl.create_default_context(cafile=str(pem)), timeout=5)
    monkeypatch.setattr(web, "_client", lambda: trusted)

    def wrap(store: Store) -> str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        store._server.socket = context.wrap_socket(store._server.socket, server_side=True)
        store.start()
        return store.url.replace("http://", "https://")

    return wrap


@pytest.fixture
def account(tmp_path: Path) -> str:
    """A service account's key, which signs its own tokens."""
    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "account.json"
    path.write_text(
        json.dumps(
            {
                "type": "service_account",
                "project_id": "acme",
                "private_key_id": "1",
                "private_key": private.decode(),
                "client_email": "failover@acme.iam.gserviceaccount.com",
                "token_uri": "https://oauth2.googleapis.com/token",
            }
        )
    )
    return str(path)


@pytest.fixture
def stores() -> Iterator[list[Store]]:
    made: list[Store] = [GcsStore(), BlobStore()]
    yield made
    for each in made:
        each.close()


def blob(endpoint: str) -> Document:
    return document(spec_of("haproxy", fence="azblob://account/routes/x", fence_endpoint=endpoint))


class Signed:
    """Stands for the SDK's chain of credentials, whose token services are not to be had here."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[str] = []

    def get_token(self, scope: str) -> object:
        self.asked.append(scope)
        if self.error:
            raise self.error
        return type("Token", (), {"token": "azure-hush"})


async def test_google_is_told_by_a_token_that_the_account_has_signed(
    over_tls: Callable[[Store], str], stores: list[Store], account: str
) -> None:
    """No other service of Google is asked for it."""
    url = over_tls(stores[0])
    options = {"fence": "gs://routes/x", "fence_endpoint": url, "credentials": account}
    fence = document(spec_of("haproxy", **options))
    await fence.put("one", tag=None)
    assert (await fence.read()).text == "one"
    sent = [header(request, "authorization") or "" for request in stores[0].seen]
    assert len(sent) == 2
    assert all(each.startswith("Bearer ey") and each.count(".") == 2 for each in sent)


async def test_azure_is_told_by_a_token_for_storage(
    over_tls: Callable[[Store], str], stores: list[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token is for storage, not for Azure's management."""
    signed = Signed()
    monkeypatch.setattr(tokens, "_azure", lambda _identity: signed)
    fence = blob(over_tls(stores[1]))
    await fence.put("one", tag=None)
    assert header(stores[1].seen[0], "authorization") == "Bearer azure-hush"
    assert set(signed.asked) == {"https://storage.azure.com/.default"}


async def test_plain_http_gets_no_token(stores: list[Store], monkeypatch: pytest.MonkeyPatch, account: str) -> None:
    """An emulator needs none, and anybody else must not have one."""
    monkeypatch.setattr(tokens, "_azure", lambda _identity: Signed())
    options = {"fence": "gs://routes/x", "fence_endpoint": stores[0].start().url, "credentials": account}
    for fence in (document(spec_of("haproxy", **options)), blob(stores[1].start().url)):
        await fence.put("one", tag=None)
    assert [header(request, "authorization") for store in stores for request in store.seen] == [None, None]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ClientAuthenticationError("hush: AADSTS700082"), Unauthenticated),
        (ServiceRequestError("hush"), Transient),
    ],
)
async def test_a_token_that_cannot_be_had_from_azure_is_told(
    over_tls: Callable[[Store], str],
    stores: list[Store],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    told: type[Exception],
) -> None:
    """A sign-in that is over is for people; a token service that is away is tried again. The store is not asked."""
    monkeypatch.setattr(tokens, "_azure", lambda _identity: Signed(error))
    with pytest.raises(told) as refused:
        await blob(over_tls(stores[1])).read()
    assert "hush" not in str(refused.value)
    assert not stores[1].seen


def test_a_credentials_file_of_google_that_is_not_there_is_told(tmp_path: Path) -> None:
    """The sentence names the file."""
    with pytest.raises(NotFound, match=r"nothing\.json"):
        tokens.google(Settings(credentials=str(tmp_path / "nothing.json")))
