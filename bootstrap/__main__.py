"""`python -m bootstrap` is `keyturn`."""

import contextlib
import os
import sys

from bootstrap.main import main

if __name__ == "__main__":
    code = main()
    # Ctrl-C right here comes too late to stop anything.
    with contextlib.suppress(OSError, ValueError, KeyboardInterrupt):
        sys.stdout.flush()
        sys.stderr.flush()
    # The interpreter would take 20 ms to take itself apart, and has nothing left to do.
    os._exit(code)
