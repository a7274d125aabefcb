"""Steering in the local world: RFC 2136 as everywhere, and weights beside the answer, which its DNS server draws by."""

from __future__ import annotations

import dns.asyncquery
import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TXT
import dns.rrset
import dns.update

from orchestrator.core.errors import BadInput
from orchestrator.core.steering import SteeringChange
from orchestrator.core.topology import Shares, SteeringSpec, Weights
from providers.base import Refused
from providers.dns.exchange import QUERY_S, signing_key
from providers.dns.rfc2136 import Rfc2136Steering


class LocalSteering(Rfc2136Steering):
    """Weighted shares: one message replaces fence, answer and ``_weights.<name>``.

    ``options`` name each endpoint's address. Reads are signed: the server shows a key the whole set, and everybody
    else one address drawn by weight.
    """

    shares = Shares.WEIGHTED

    def __init__(self, spec: SteeringSpec) -> None:
        """Raises BadInput where the spec has no options or no key."""
        super().__init__(spec)
        self._addresses = {endpoint: tuple(text.split(",")) for endpoint, text in spec.options}
        if not self._addresses or spec.key is None:
            raise BadInput(
                f"the local steering of {spec.name} needs a key, and options with each endpoint's address "
                "(paris: 127.1.1.1); take them from the failover.yaml that the local world wrote"
            )
        self._weights = dns.name.from_text("_weights", self.names.name)

    def message(self, change: SteeringChange, record: dns.rrset.RRset | None) -> dns.update.UpdateMessage:
        """The update with the weights in it. Raises Refused for an endpoint whose address is not known."""
        update = super().message(change, record)
        text = self._text(change.weights)
        # One message is one act: the weights can never belong to another answer than the one beside them.
        rdata = dns.rdtypes.ANY.TXT.TXT(dns.rdataclass.IN, dns.rdatatype.TXT, [text.encode()])
        update.replace(self._weights, self.spec.ttl_s, rdata)
        return update

    def _text(self, weights: Weights) -> str:
        unknown = sorted(endpoint for endpoint, weight in weights if weight and endpoint not in self._addresses)
        if unknown:
            raise Refused(f"the options of the local steering name no address for {', '.join(unknown)}; add it there")
        shares = ((address, weight) for endpoint, weight in weights if weight for address in self._addresses[endpoint])
        return " ".join(f"{address}={weight}" for address, weight in shares)

    async def _resolve(self, address: str, port: int, kind: dns.rdatatype.RdataType) -> dns.message.Message:
        query = dns.message.make_query(self.names.name, kind, flags=0)
        query.use_tsig(signing_key(self.spec.key))
        reply, _ = await dns.asyncquery.udp_with_fallback(
            query, address, timeout=QUERY_S, port=port, ignore_unexpected=True, ignore_errors=True
        )
        return reply
