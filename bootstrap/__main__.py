"""`python -m bootstrap` is `keyturn`."""

import sys

from bootstrap.main import main

if __name__ == "__main__":
    sys.exit(main())
