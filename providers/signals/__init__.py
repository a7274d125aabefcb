"""Signals from systems that watch: queries of Prometheus and New Relic, monitors of Datadog."""
