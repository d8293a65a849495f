"""``python -m pounce`` is the ``pounce`` command."""

import sys

from pounce.cli import main

if __name__ == "__main__":
    sys.exit(main())
