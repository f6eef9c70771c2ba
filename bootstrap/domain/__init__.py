"""Values, errors, planning, rendering and verdicts: no I/O, no clock, no randomness."""
