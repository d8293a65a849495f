"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# No test asserts a time: a busy machine is no fault of the code.
settings.register_profile("pounce", deadline=None)
settings.load_profile("pounce")
