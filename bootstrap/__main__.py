"""`python -m bootstrap` is `keyturn`."""

import contextlib
import os
import sys

from bootstrap.main import main

if __name__ == "__main__":
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    # The interpreter would take 20 ms to take itself apart, and has nothing left to do.
    os._exit(code)
