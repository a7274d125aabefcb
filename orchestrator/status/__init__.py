"""The single pane: what is wrong, what is being done about it, and what was done before. Read-only."""

from orchestrator.status.app import create_app
from orchestrator.status.plane import Plane
from orchestrator.status.server import CannotListen, serve

__all__ = ["CannotListen", "Plane", "create_app", "serve"]
