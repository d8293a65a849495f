"""A chat that survives reloads and deaths of its workers: ``pounce --app-dir examples chat:app``.

README.md beside this file says what to try with it.
"""

from __future__ import annotations

from chat.app import app

__all__ = ["app"]
