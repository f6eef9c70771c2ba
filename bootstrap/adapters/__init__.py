"""The outside world behind the protocols of `bootstrap.ports`, one module per system."""
