"""Run a program whose output passes through a filter that masks secrets.

The filter is a process of its own for each stream, out of reach of the terminal's signals: it ends
when the last writer has closed the stream, and what it got by then it has written. Standard input
and the terminal are the program's own.
"""

import os
import select
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import NoReturn

from bootstrap.domain.ci import detect
from bootstrap.domain.errors import TargetError
from bootstrap.domain.masking import Masker, spellings
from bootstrap.domain.secret import Secret

_STREAMS = (1, 2)
_CHUNK = 65536


def maskable(environ: Mapping[str, str]) -> tuple[int, ...]:
    """Return the standard streams that do not lead to a person's terminal.

    Args:
        environ: This process's variables. In a CI job a terminal is a log as well: Buildkite and
            `act` give one to each job.
    """
    job = detect(environ) is not None
    return tuple(stream for stream in _STREAMS if job or not os.isatty(stream))


def masks(secrets: Iterable[tuple[str, Secret]]) -> dict[bytes, bytes]:
    """Return what to look for and what to put there, for (name, secret) pairs."""
    found: dict[bytes, bytes] = {}
    for name, secret in secrets:
        for form, mask in spellings(name, secret.reveal()).items():
            found.setdefault(form, mask)
    return found


def run_masked(
    streams: tuple[int, ...], replacements: Mapping[bytes, bytes], run: Callable[[], int]
) -> int:
    """Return what `run` returns, while what is written to `streams` passes through the filter.

    Args:
        streams: See `maskable`.
        replacements: See `masks`.
        run: Runs the program to its end; it inherits the streams.

    Raises:
        TargetError: The program ended well, but not all that it printed could be written.
    """
    filters, originals = [], {stream: os.dup(stream) for stream in streams}
    try:
        for group in _by_destination(streams):
            reader, writer = os.pipe()
            filters.append(_start_filter(reader, originals[group[0]], replacements))
            os.close(reader)
            for stream in group:
                os.dup2(writer, stream)
            os.close(writer)
        status = run()
    finally:
        for stream, original in originals.items():
            os.dup2(original, stream)
            os.close(original)
        ended = [os.waitpid(pid, 0)[1] for pid in filters]
    if status == 0 and any(ended):
        raise TargetError(
            "not all that the program printed was written",
            why="its output goes to where nothing more can be written",
            fix="make room there (df -h), and run it again",
        )
    return status


def _by_destination(streams: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Keep streams together that lead to one place (`2>&1`): their lines keep their order."""
    places: dict[tuple[int, int], tuple[int, ...]] = {}
    for stream in streams:
        found = os.fstat(stream)
        place = found.st_dev, found.st_ino
        places[place] = (*places.get(place, ()), stream)
    return list(places.values())


def _start_filter(reader: int, destination: int, replacements: Mapping[bytes, bytes]) -> int:
    """Fork the process that copies `reader` to `destination`, and return its id."""
    pid = os.fork()
    if pid == 0:
        _filter(reader, destination, replacements)
    return pid


def _filter(reader: int, destination: int, replacements: Mapping[bytes, bytes]) -> NoReturn:
    status = 1
    try:
        os.setsid()
        os.dup2(destination, 1)
        os.dup2(reader, 0)
        os.closerange(2, os.sysconf("SC_OPEN_MAX"))  # no pipe's end but these two
        copy(0, 1, Masker(replacements))
        status = 0
    finally:
        os._exit(status)


def copy(reader: int, writer: int, masker: Masker) -> None:
    """Copy until the last writer of `reader` is gone, or nobody reads `writer` any more."""
    with suppress(BrokenPipeError):
        while piece := os.read(reader, _CHUNK):
            _write(writer, masker.feed(piece))
        _write(writer, masker.finish())


def _write(writer: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(writer, left) :]
        except BlockingIOError:  # somebody set what they share with us to O_NONBLOCK
            waiting = select.poll()
            waiting.register(writer, select.POLLOUT)
            waiting.poll()
