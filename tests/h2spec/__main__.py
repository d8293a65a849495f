"""``python -m tests.h2spec``: HTTP/2 conformance of pounce, strictly; exit status 1 on a failure.

Our own cases are run always. Where the public suite's command ``h2spec`` is on the PATH, it is run
as well, whole and with ``--strict``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.h2spec.judged import judge
from tests.support.served import serving


def main() -> int:
    with (
        tempfile.TemporaryDirectory() as folder,
        serving("tests.h2spec.app:app", "--port", "0", folder=Path.cwd()) as server,
    ):
        port = int(server.wait_until_serving().rpartition(":")[2])
        failed = judge(port, report=sys.stdout.write)
        public = shutil.which("h2spec")
        if public is None:
            sys.stdout.write("the public suite was not run: no h2spec on the PATH\n")
        else:
            command = [public, "--strict", "--host", "127.0.0.1", "--port", str(port)]
            failed += subprocess.run(command, cwd=folder, check=False).returncode != 0
        status = server.stop()
    return int(bool(failed) or status != 0)


if __name__ == "__main__":
    raise SystemExit(main())
