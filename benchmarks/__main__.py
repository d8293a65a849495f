"""``python -m benchmarks``; knows nothing but where to start."""

from __future__ import annotations

import sys

from benchmarks.run import main

sys.exit(main())
