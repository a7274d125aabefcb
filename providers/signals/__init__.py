"""Signals from systems that watch: queries of Prometheus."""
