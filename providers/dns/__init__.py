"""Steering by DNS: the fence and the answer at an authoritative server, by RFC 2136."""
