"""Cloud DNS as its REST API speaks: managed zones that keep record sets, and change them all at once or not at all.

Checked as Google does: a deletion must be what stands, to the letter (412), and must be there (404); an addition must
not be there yet (409); a CNAME stands alone, a record set has records or a policy, no weight is negative (400). Errors
have Google's form, texts and reasons. A change is ``pending`` until the name servers have it, and ``done`` afterwards.
"""

from __future__ import annotations

import copy
import threading

from wire.google_rest import Json, Refusal, RestServer


class Zone:
    """One managed zone."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], Json] = {}
        self.served: dict[tuple[str, str], Json] = {}
        """What the name servers say: the records of the newest change that is done."""
        self.changes: list[Json] = []
        self.slow = False
        """Changes stay pending until ``arrive``."""
        self.lock = threading.Lock()

    def put(self, *records: Json) -> None:
        """Replace record sets as a person would in the console."""
        with self.lock:
            for record in records:
                self.records[record["name"], record["type"]] = _stored(record)
            self.served = copy.deepcopy(self.records)

    def take(self, name: str, kind: str) -> None:
        with self.lock:
            del self.records[name, kind]
            self.served = copy.deepcopy(self.records)

    def arrive(self) -> None:
        """The name servers have every change."""
        with self.lock:
            for each in self.changes:
                each["status"] = "done"
            self.served = copy.deepcopy(self.records)

    def change(self, body: Json) -> Json:
        """Make all of a change or nothing of it."""
        deletions, additions = body.get("deletions") or [], body.get("additions") or []
        if not deletions and not additions:
            raise Refusal(400, "required", "The 'entity.change' parameter is required but was missing.")
        with self.lock:
            left = dict(self.records)
            for index, record in enumerate(deletions):
                self._delete(left, record, f"entity.change.deletions[{index}]")
            for index, record in enumerate(additions):
                self._add(left, record, f"entity.change.additions[{index}]")
            _no_neighbours(left)
            self.records = left
            made = {
                "kind": "dns#change",
                "id": str(len(self.changes) + 1),
                "additions": copy.deepcopy(additions),
                "deletions": copy.deepcopy(deletions),
                "status": "pending",
            }
            self.changes.append(made)
            answer = copy.deepcopy(made)
        if not self.slow:
            self.arrive()
        return answer

    def _delete(self, left: dict[tuple[str, str], Json], record: Json, where: str) -> None:
        key = (record["name"], record["type"])
        if key not in left:
            raise Refusal(404, "notFound", f"The '{where}' resource named '{key[0]} ({key[1]})' does not exist.")
        if _compared(left[key]) != _compared(_stored(record)):
            raise Refusal(412, "conditionNotMet", f"Precondition not met for '{where}'")
        del left[key]

    def _add(self, left: dict[tuple[str, str], Json], record: Json, where: str) -> None:
        key = (record["name"], record["type"])
        if key in left:
            raise Refusal(409, "alreadyExists", f"The resource '{where}' named '{key[0]} ({key[1]})' already exists")
        plain, policy = record.get("rrdatas"), record.get("routingPolicy")
        if bool(plain) == bool(policy):
            raise Refusal(400, "invalid", f"Invalid value for '{where}': set either rrdatas or routingPolicy")
        items = (policy or {}).get("wrr", {}).get("items", [])
        if any(float(item.get("weight", 0)) < 0 or not item.get("rrdatas") for item in items) or (policy and not items):
            raise Refusal(400, "invalid", f"Invalid value for '{where}.routingPolicy'")
        if record["type"] == "TXT" and any(len(part) > 255 for part in _strings(plain)):
            raise Refusal(400, "invalid", f"Invalid value for '{where}.rrdata[0]': a string is longer than 255 bytes")
        left[key] = _stored(record)


class CloudDns(RestServer):
    """The API on a port of loopback."""

    def __init__(self) -> None:
        self.zones: dict[tuple[str, str], Zone] = {}
        """By project and name."""
        self.bodies: list[Json] = []
        """Of every change that was asked for."""
        super().__init__()

    def answer(self, method: str, path: list[str], query: dict[str, str], body: Json) -> Json:
        """The answer to one request. Raises Refusal."""
        match path:
            case ["dns", "v1", "projects", project, "managedZones", name, what]:
                zone = self.zones.get((project, name))
            case _:
                raise Refusal(404, "notFound", "Not Found")
        if zone is None:
            raise Refusal(404, "notFound", f"The 'parameters.managedZone' resource named '{name}' does not exist.")
        match method, what:
            case "GET", "rrsets":
                with zone.lock:
                    records = [record for key, record in sorted(zone.records.items()) if _asked(key, query)]
                    return {"kind": "dns#resourceRecordSetsListResponse", "rrsets": copy.deepcopy(records)}
            case "GET", "changes":
                newest_first = query.get("sortOrder") == "descending"
                with zone.lock:
                    changes = copy.deepcopy(zone.changes[::-1] if newest_first else zone.changes)
                return {"kind": "dns#changesListResponse", "changes": changes[: int(query.get("maxResults", 1000))]}
            case "POST", "changes":
                self.bodies.append(body)
                return zone.change(body)
        raise Refusal(404, "notFound", "Not Found")


def _asked(key: tuple[str, str], query: dict[str, str]) -> bool:
    return query.get("name", key[0]) == key[0] and query.get("type", key[1]) == key[1]


def _stored(record: Json) -> Json:
    """*record* as the API says it: with its kinds, and weights as floating point numbers."""
    stored: Json = {
        "kind": "dns#resourceRecordSet",
        "name": record["name"],
        "type": record["type"],
        "ttl": int(record["ttl"]),
    }
    if record.get("routingPolicy"):
        policy = copy.deepcopy(record["routingPolicy"])
        for item in policy.get("wrr", {}).get("items", []):
            item["kind"] = "dns#rRSetRoutingPolicyWrrPolicyWrrPolicyItem"
            item["weight"] = float(item.get("weight", 0))
        stored["routingPolicy"] = {**policy, "kind": "dns#rRSetRoutingPolicy"}
    else:
        stored["rrdatas"] = list(record["rrdatas"])
    return stored


def _compared(record: Json) -> Json:
    """What a deletion is compared by: the order of plain values does not count."""
    return {**record, "rrdatas": sorted(record.get("rrdatas", ()))}


def _no_neighbours(records: dict[tuple[str, str], Json]) -> None:
    for name, kind in records:
        if kind == "CNAME" and any(key[0] == name and key[1] != "CNAME" for key in records):
            text = f"Resource record set '{name}' is invalid because the DNS name holds a CNAME and another record."
            raise Refusal(400, "cnameResourceRecordSetConflict", text)


def _strings(values: list[str] | None) -> list[str]:
    return [part for value in values or () for part in value.strip('"').split('" "')]
