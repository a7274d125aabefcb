"""The failover orchestrator: a control plane that keeps AI model endpoints reachable."""

__version__ = "0.1.0"
