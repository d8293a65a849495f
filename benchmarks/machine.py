"""Which machine and which versions a run was made with; names no path and no host."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from benchmarks.running import ROOT


def describe() -> dict[str, str]:
    """What a reader needs to weigh absolute numbers."""
    memory = Path("/proc/meminfo").read_text()
    total_kib = int(re.findall(r"MemTotal:\s+(\d+)", memory)[0])
    return {
        "CPU": cpu_model(Path("/proc/cpuinfo").read_text()),
        "cores": str(os.cpu_count()),
        "memory": f"{total_kib / 1024 / 1024:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "load": wrk_version(),
    }


def cpu_model(cpuinfo: str) -> str:
    names = re.findall(r"(?:model name|Model)\s*:\s*(.+)", cpuinfo)
    return names[0] if names else platform.machine()


def wrk_version() -> str:
    """wrk's first line; it ends with status 1 when only asked for its version."""
    told = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False)
    return " ".join(told.stdout.split(" [")[0].split())


def versions(distributions: Iterable[str]) -> dict[str, str]:
    return {name: version(name) for name in sorted(set(distributions))}


def version(distribution: str) -> str:
    if distribution == "bengal-pounce":  # the tree that is measured, which may not be installed
        return pounce_version()
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def pounce_version() -> str:
    source = (ROOT / "pounce" / "__init__.py").read_text()
    found = re.findall(r'^__version__[^=]*= "([^"]+)"', source, re.MULTILINE)
    return found[0] if found else "unknown"
