"""Hooks of runbooks: HTTP requests to a user's own automation."""
