"""Termination signals for commands that write."""

from bootstrap.adapters.signals import termination_raises

__all__ = ["termination_raises"]
