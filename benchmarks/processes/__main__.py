"""``python -m benchmarks.processes``; knows nothing but where to start."""

from __future__ import annotations

import sys

from benchmarks.processes.run import main

sys.exit(main())
