"""`python -m portal.runtime` is the command `portal`."""

import sys

from portal.runtime.cli import main

if __name__ == "__main__":
    sys.exit(main())
