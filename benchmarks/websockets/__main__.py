"""``python -m benchmarks.websockets``; knows nothing but where to start."""

from __future__ import annotations

import sys

from benchmarks.websockets.run import main

sys.exit(main())
