"""What the application of every framework here does the same: its paths, and their content.

GET   /json            {"hello": <query's name>}
POST  /json            {"twice": <2 * body's number>}
POST  /form            {"name": ..., "colours": [...]}
POST  /upload          {"note": ..., "name": ..., "size": ..., "sha256": ...} of the part "file"
GET   /download        the file that DOWNLOAD names, as an attachment
GET   /stream          LINES
GET   /events          EVENTS as server-sent events
GET   /error           raises
GET   /late-error      raises in the middle of a streamed body
GET   /missing         404
GET   /background      answers, then notes "background" in the file that NOTES names
GET   /state           {"started": true} from lifespan.state; without one, from the process
GET   /cookie          sets "taste" to "sweet", HttpOnly, and "second" to "2"
GET   /cookies         {"taste": ...} of the request
GET   /redirect        302 to /json?name=redirected
POST  /echo            the body, as it is
GET   /worker          {"pid": ...}
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

LINES: Final = [f"line {number}: {'x' * number}\n" for number in range(100)]
EVENTS: Final = [{"tick": number} for number in range(5)]
DOWNLOAD_NAME: Final = "download.bin"


def download() -> Path:
    return Path(os.environ["DOWNLOAD"])


def note(line: str) -> None:
    with Path(os.environ["NOTES"]).open("a") as file:
        file.write(f"{line}\n")
