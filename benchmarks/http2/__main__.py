"""``python -m benchmarks.http2``; knows nothing but where to start."""

from __future__ import annotations

import sys

from benchmarks.http2.run import main

sys.exit(main())
