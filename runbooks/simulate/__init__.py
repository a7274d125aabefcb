"""Deterministic simulation: the pure core and the run's state machine under faults, from one seed. No IO, no clock."""
