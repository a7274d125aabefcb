"""Probes: asking endpoints over HTTP, TCP and streamed chat completions."""

from providers.probes.chat import Completion
from providers.probes.client import Probes
from providers.probes.exchange import Asking, Done
from providers.probes.link import Question
from providers.probes.resolve import Resolver

__all__ = ["Asking", "Completion", "Done", "Probes", "Question", "Resolver"]
