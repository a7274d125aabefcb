"""When a service looks again while something is wrong and nothing is done: soon at first, then ever more rarely."""

from __future__ import annotations

from orchestrator.core.decision import Situation, wait_s
from orchestrator.core.move import Objection
from orchestrator.core.topology import Mode

LOOK_AGAIN_S = (1.0, 60.0)
"""Look again after this long, doubling up to that long."""
REST_FROM_S = 30.0
"""The first pause while every endpoint is well: 200 services that wait to be adopted must not all look every second."""
REST_S = 900.0
"""The longest of these pauses where nothing will be done: every endpoint is well, or people start every run."""

SILENT_AGAIN_S = 30.0
"""Where the governor is silent, or nothing could be read in time: after one second, then doubling up to that long.
Hundreds that ask again every few seconds would keep it silent."""


class Pace:
    """The pauses of one service."""

    def __init__(self) -> None:
        self._pause_s = LOOK_AGAIN_S[0]
        self._concerned = False
        self._silent_s = 0.0
        self._blind = False

    def anew(self) -> None:
        """All is well, or something was done: the next pause is short."""
        self._pause_s = LOOK_AGAIN_S[0]

    def saw(self, *, anything: bool) -> None:
        """Whether the last look found a vantage alive, in the time that it had."""
        self._blind = not anything

    def pause_s(self, facts: Situation, hold: tuple[Objection, ...], *, concerning: bool) -> float:
        """Seconds until the next look; *concerning*: some vantage says anything but healthy of an endpoint.

        An endpoint that is down and carries nothing concerns nobody soon: after a region was lost, a thousand services
        have one, and news of it comes by itself.
        """
        concerning = concerning and bool(facts.dead or hold)
        if concerning and (self._blind or any(each.rule == "governor-silent" for each in hold)):
            # A worker that froze with the governor keeps it for some seconds; a long pause would be added to them.
            self._silent_s = min(2 * self._silent_s, SILENT_AGAIN_S) or LOOK_AGAIN_S[0]
            return self._silent_s
        self._silent_s = 0.0
        if concerning is not self._concerned:
            # A pause that grew while all was well must not delay the next look at an outage.
            self._concerned, self._pause_s = concerning, LOOK_AGAIN_S[0]
        if not concerning:
            self._pause_s = max(self._pause_s, REST_FROM_S)
        soon = wait_s(facts)
        pause_s = self._pause_s if soon is None else max(0.05, min(soon, self._pause_s))
        acts = facts.mode in {Mode.AUTOMATIC, Mode.APPROVAL} and concerning
        self._pause_s = min(self._pause_s * 2, LOOK_AGAIN_S[1] if acts else REST_S)
        return pause_s
