"""Probes: asking endpoints over HTTP, TCP and streamed chat completions."""

from providers.probes.chat import Completion
from providers.probes.client import Probes
from providers.probes.exchange import Asking, Done, Question
from providers.probes.resolve import Resolver

__all__ = ["Asking", "Completion", "Done", "Probes", "Question", "Resolver"]
