"""Versions of programs, `1.2.3`."""

import re

_VERSION = re.compile(r"(?<![\w.])v?(\d{1,9}(?:\.\d{1,9}){1,3})(?![\w.])")


def as_numbers(version: str) -> tuple[int, ...]:
    """Return `1.2.3` as numbers; empty where it is anything else."""
    parts = version.split(".")
    return tuple(map(int, parts)) if all(map(str.isdecimal, parts)) else ()


def version_in(text: str) -> str:
    """Return the first version in what a program said; empty where there is none."""
    found = _VERSION.search(text)
    return found[1] if found else ""
