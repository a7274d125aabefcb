"""Routing documents: shares and fence in one small text at a place that compares and sets."""
