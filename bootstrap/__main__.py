"""`python -m bootstrap` is `keyturn`."""

import gc
import os
import sys

from bootstrap.domain.base_errors import ExitCode
from bootstrap.main import main

if __name__ == "__main__":
    gc.disable()  # what a command leaves behind is less than what looking for it costs
    code: int = ExitCode.INTERRUPTED
    try:
        code = main()
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError, KeyboardInterrupt):
        pass  # Ctrl-C right here comes too late to stop anything
    # The interpreter would take 20 ms to take itself apart, and has nothing left to do.
    os._exit(code)
