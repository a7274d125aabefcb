"""``failover discover``: what is written, what is said, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config import load
from orchestrator.core.topology import Mode
from wire.arm import SUBSCRIPTION
from wire.arm_lists import Subscription
from wire.google_lists import Project
from wire.kubernetes_lists import Clusters


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[Clusters]:
    made = Clusters(tmp_path, "eu", "us")
    yield made
    made.close()


@pytest.fixture
def words(clusters: Clusters) -> tuple[str, ...]:
    """A look at two clusters."""
    return (
        *("discover", "kubernetes", "--kubeconfig", str(clusters.kubeconfig)),
        *("--context", "eu", "--context", "us"),
    )


@pytest.fixture
def chat(clusters: Clusters) -> None:
    """The same model server in both."""
    for context in ("eu", "us"):
        clusters.at[context].server("chat")


@pytest.mark.usefixtures("chat")
def test_a_draft_is_written_and_what_is_missing_is_said(failover: Any, words: tuple[str, ...], tmp_path: Path) -> None:
    """The file is a topology that only watches; the last words are what to fill in and what to run next."""
    out = tmp_path / "draft.yaml"
    ended = failover(*words, "--out", str(out))
    assert ended.status == 0
    assert ended.out == ""
    (service,) = load(out).services
    assert service.policy.mode is Mode.OBSERVE
    assert len(service.endpoints) == 2
    assert f"{out} is written: 1 service, 2 endpoints" in ended.err
    said = ended.err[ended.err.index("fill in:") :]
    assert "services[chat].name: the host name that clients call" in said
    assert said.rstrip().endswith(f"then run 'failover validate {out}'")


@pytest.mark.usefixtures("chat")
def test_the_draft_passes_validate(failover: Any, words: tuple[str, ...], tmp_path: Path) -> None:
    """'failover validate' finds warnings in a draft, and no mistake."""
    out = tmp_path / "draft.yaml"
    failover(*words, "--out", str(out))
    ended = failover("validate", str(out))
    assert ended.status == 0
    assert "warning" in ended.out + ended.err


@pytest.mark.usefixtures("chat")
def test_without_a_file_the_draft_is_what_is_printed(failover: Any, words: tuple[str, ...], tmp_path: Path) -> None:
    """Standard output is the file and nothing else, so that it can be piped."""
    ended = failover(*words)
    assert ended.status == 0
    out = tmp_path / "piped.yaml"
    out.write_text(ended.out)
    assert load(out).services


@pytest.mark.usefixtures("chat")
def test_a_file_that_is_there_is_left_as_it_is(
    failover: Any, words: tuple[str, ...], tmp_path: Path, clusters: Clusters
) -> None:
    """It refuses to overwrite before it asks anybody anything; a dangling link is something, too."""
    out, link = tmp_path / "mine.yaml", tmp_path / "link.yaml"
    out.write_text("mine")
    link.symlink_to(tmp_path / "nowhere")
    for path in (out, link):
        ended = failover(*words, "--out", str(path))
        assert ended.status == 2
        assert "is there already and was left as it is" in ended.err
    assert out.read_text() == "mine"
    assert clusters.asked == []


@pytest.mark.usefixtures("chat")
def test_json_is_one_document(failover: Any, words: tuple[str, ...]) -> None:
    """--json says what was found, what was left out, what to fill in, and the draft itself."""
    document = failover(*words, "--json").document
    assert [each["id"] for each in document["services"]] == ["chat"]
    assert document["services"][0]["endpoints"][0]["workload"]["target"] == "ai/deployment/chat"
    assert document["draft"].startswith("# Written by 'failover discover kubernetes'")
    assert document["file"] is None
    assert any("vantages" in each for each in document["fill_in"])


def test_nothing_found_ends_with_1_and_what_was_looked_for(
    failover: Any, words: tuple[str, ...], tmp_path: Path
) -> None:
    """Where nothing is, nothing is written, and the sentence says what was looked for and where."""
    out = tmp_path / "draft.yaml"
    ended = failover(*words, "--out", str(out))
    assert ended.status == 1
    assert "nothing was found; looked for Deployments and StatefulSets" in ended.err
    assert "context eu" in ended.err
    assert not out.exists()


def test_nothing_found_says_what_could_not_be_read(failover: Any, words: tuple[str, ...], clusters: Clusters) -> None:
    """Who may not look everywhere is not told that nothing is there."""
    clusters.at["us"].denied = {"deployments"}
    ended = failover(*words)
    assert ended.status == 1
    assert "needs the verb 'list' on 'deployments'" in ended.err
    assert "what was left out stands above" in ended.err


@pytest.mark.usefixtures("chat")
def test_what_is_left_out_is_said_and_the_rest_is_written(
    failover: Any, words: tuple[str, ...], clusters: Clusters
) -> None:
    """One list that may not be read costs only what it holds."""
    clusters.at["eu"].denied = {"ingresses"}
    ended = failover(*words)
    assert ended.status == 0
    assert "left out: cannot list ingresses (context eu" in ended.err
    assert "# Left out: cannot list ingresses" in ended.out


def test_a_context_that_there_is_not(failover: Any, clusters: Clusters) -> None:
    """A misspelt context is one sentence with those that there are."""
    ended = failover("discover", "kubernetes", "--kubeconfig", str(clusters.kubeconfig), "--context", "ue")
    assert ended.status == 1
    assert "one of: eu, us" in ended.err


def test_aws_without_anything(failover: Any) -> None:
    """An empty region ends with 1 and names the APIs that were asked."""
    from real.moto import moto_url

    ended = failover("discover", "aws", "--region", "ap-south-2", "--endpoint", moto_url())
    assert ended.status == 1
    assert "looked for ECS services, Auto Scaling groups and SageMaker endpoints in ap-south-2" in ended.err


def test_aws_without_credentials(failover: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials it ends with 1 and says where they come from."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    nowhere = str(tmp_path / "none")
    failover.env |= {"AWS_EC2_METADATA_DISABLED": "true"}
    failover.env |= {"AWS_CONFIG_FILE": nowhere, "AWS_SHARED_CREDENTIALS_FILE": nowhere}
    ended = failover("discover", "aws", "--region", "eu-west-1")
    assert ended.status == 1
    assert "there are no AWS credentials" in ended.err


def test_gcp_and_azure_write_drafts(failover: Any, tmp_path: Path) -> None:
    """A project and a subscription become files, too; without their id it is bad usage."""
    project, azure = Project("ai", "europe-west1"), Subscription()
    azure.start()
    project.run("europe-west1", "chat")
    azure.add(
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/ai/providers/Microsoft.App/containerApps/chat",
        {"location": "westeurope", "properties": {}},
    )
    try:
        one, two = tmp_path / "gcp.yaml", tmp_path / "azure.yaml"
        ended = failover("discover", "gcp", "--project", "ai", "--endpoint", project.url, "--out", str(one))
        assert ended.status == 0, ended.err
        subscribed = ("--subscription", SUBSCRIPTION, "--endpoint", azure.url, "--out", str(two))
        ended = failover("discover", "azure", *subscribed)
        assert ended.status == 0, ended.err
        assert [load(each).services[0].id for each in (one, two)] == ["chat", "chat"]
    finally:
        project.leave()
        azure.leave()
    failover.env |= {"GOOGLE_CLOUD_PROJECT": "", "AZURE_SUBSCRIPTION_ID": ""}
    for cloud, option in (("gcp", "--project"), ("azure", "--subscription")):
        ended = failover("discover", cloud)
        assert ended.status == 2
        assert f"add {option}" in ended.err
