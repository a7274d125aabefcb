"""The price sheet: which price fits which workload, what is made of it, and what is wrong with it in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.config import load
from orchestrator.config.mistakes import Mistakes
from orchestrator.core import costs
from orchestrator.core.names import EndpointId
from orchestrator.core.topology import Service

TOPOLOGY = """
apiVersion: failover/v1
kind: Topology
prices: prices.yaml
regions: [aws/eu-west-1, gcp/us-east1, azure/westeurope]
services:
  - id: chat
    name: chat.example.com
    endpoints:
      - {id: eu, url: "https://eu.example.com", region: aws/eu-west-1, role: active,
         workload: {provider: local, target: eu, serving: 3, options: {world: x}}}
      - {id: us, url: "https://us.example.com", region: gcp/us-east1, role: standby,
         workload: {provider: local, target: gpu-us, serving: 3, standby: 1, options: {world: x}}}
      - {id: we, url: "https://we.example.com", region: azure/westeurope, role: standby,
         workload: {provider: local, target: we, serving: 2, standby: 1, options: {world: x}}}
"""
SHEET = """
apiVersion: failover/v1
kind: Prices
currency: USD
prices:
  - {region: gcp/us-east1, target: "gpu-*", per_hour: 4.10}
  - {provider: local, region: aws/eu-west-1, per_hour: 3}
"""


def read(folder: Path, sheet: str = SHEET) -> Service:
    (folder / "failover.yaml").write_text(TOPOLOGY, encoding="utf-8")
    (folder / "prices.yaml").write_text(sheet, encoding="utf-8")
    return load(folder / "failover.yaml").services[0]


def test_the_first_price_that_fits_counts(tmp_path: Path) -> None:
    """By domain, provider and a pattern of the target; what nothing fits has no price, and that is said."""
    chat = read(tmp_path)
    found = {each.id: each.workload.per_hour for each in chat.endpoints if each.workload is not None}
    assert found == {"eu": 3.0, "us": 4.1, "we": None}
    assert costs.standing(chat) == "standing by costs 4.10 USD an hour, without we, which no price is known of"
    assert costs.serving(chat, (EndpointId("us"),)) == "8.20 USD an hour more while us serves"
    assert costs.serving(chat, (EndpointId("we"),)) == "", "nothing is said of what is not known"
    assert costs.told(chat, (EndpointId("us"),)).count(";") == 1


def test_a_topology_without_a_sheet_says_nothing_of_costs(tmp_path: Path) -> None:
    """No prices, no words."""
    (tmp_path / "failover.yaml").write_text(TOPOLOGY.replace("prices: prices.yaml\n", ""), encoding="utf-8")
    assert costs.told(load(tmp_path / "failover.yaml").services[0], (EndpointId("us"),)) == ""


@pytest.mark.parametrize(
    ("replace", "by", "told"),
    [
        ("per_hour: 4.10", "per_hour: -1", "prices.yaml:6"),
        ("per_hour: 4.10", "per_huor: 4.10", "did you mean 'per_hour'?"),
        ("kind: Prices", "kind: Topology", "prices.yaml:3"),
        ("currency: USD\n", "", "currency"),
    ],
)
def test_what_is_wrong_with_a_sheet_is_told_at_its_place(tmp_path: Path, replace: str, by: str, told: str) -> None:
    """A mistake names the sheet's own file and line."""
    with pytest.raises(Mistakes) as caught:
        read(tmp_path, SHEET.replace(replace, by))
    assert told in str(caught.value)


def test_a_sheet_that_is_not_there_is_told(tmp_path: Path) -> None:
    """The name that the topology gives is the one that is missing."""
    (tmp_path / "failover.yaml").write_text(TOPOLOGY, encoding="utf-8")
    with pytest.raises(Mistakes, match=r"prices\.yaml"):
        load(tmp_path / "failover.yaml")
