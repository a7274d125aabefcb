"""Providers: the only code that touches the world a service lives in. One small Protocol per verb family."""
