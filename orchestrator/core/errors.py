"""Errors of the pure core. An error's name says what to do; its text is one sentence for a person."""

from __future__ import annotations


class FailoverError(Exception):
    """Base of every error this product raises on purpose. ``str(error)`` is fit to show to a person."""


class BadInput(FailoverError):
    """What a person wrote is wrong. The sentence names the place and the cure."""


class BadFence(FailoverError):
    """A fence record that cannot be read: something else wrote it."""


class Unsteerable(FailoverError):
    """The wanted weights cannot be expressed (an empty answer, shares in plain DNS, mixed CNAME and addresses)."""


class IllegalTransition(FailoverError):
    """A state machine met a pair that its table does not have."""
