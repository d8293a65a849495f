"""The settings of the processes: how many, how long they live, how they take over."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pounce.settings import Form, setting

WORKERS: Final = "Workers"
PROCESSES: Final = "Processes"

UMASK: Final = Form(
    lambda text: bool(re.fullmatch(r"|0?[0-7]{3}", text, re.ASCII)),
    'three octal digits as a text, such as "027"',
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """See Config."""

    workers: int = setting(
        1,
        group=WORKERS,
        least=0,
        most=512,
        zero="one for each core that may be used",
        words={"auto": 0},
        help="Worker processes; auto counts the cores that affinity and cgroup leave us.",
    )
    loop: str = setting(
        "auto",
        group=WORKERS,
        choices=("auto", "uvloop", "asyncio"),
        help="Event loop; auto takes uvloop where it is installed.",
    )
    http: str = setting(
        "auto",
        group=WORKERS,
        choices=("auto", "httptools", "h11"),
        help="HTTP/1.1 parser; auto takes httptools where it is installed.",
    )
    preload: str = setting(
        "auto",
        group=WORKERS,
        choices=("auto", "on", "off"),
        help="Import the application once and fork the workers from there; auto lets each worker "
        "import it where the import leaves threads or sockets behind.",
    )
    start_timeout: float = setting(
        60.0,
        group=WORKERS,
        unit="seconds",
        least=0.1,
        help="How long a worker may take to import and start the application.",
    )
    shutdown_timeout: float = setting(
        30.0,
        group=WORKERS,
        unit="seconds",
        least=0,
        help="How long a stopping worker may finish requests and WebSockets before SIGKILL.",
    )
    drain_delay: float = setting(
        0.0,
        group=WORKERS,
        unit="seconds",
        least=0,
        help="How long a stop still accepts, with Connection: close, so that a balancer notices.",
    )
    probation: float = setting(
        3.0,
        group=WORKERS,
        unit="seconds",
        least=0,
        zero="none",
        help="How long the workers of a reload must live before the old ones, which wait, go.",
    )
    max_surge: int = setting(
        0,
        group=WORKERS,
        least=0,
        zero="one for each worker, and more while old ones drain",
        help="Worker processes that a reload may add at once; 1 replaces one after the other.",
    )
    worker_timeout: float = setting(
        30.0,
        group=WORKERS,
        unit="seconds",
        least=0,
        zero="never",
        help="A worker whose event loop stands still so long is logged with its stacks and "
        "replaced.",
    )
    max_requests: int = setting(
        0,
        group=WORKERS,
        least=0,
        zero="no limit",
        help="Requests after which a worker is replaced; each message that comes by WebSocket "
        "counts as one.",
    )
    max_worker_age: float = setting(
        0.0,
        group=WORKERS,
        unit="seconds",
        least=0,
        zero="no limit",
        help="Age at which a worker is replaced.",
    )
    max_worker_memory: int = setting(
        0,
        group=WORKERS,
        unit="bytes",
        least=0,
        zero="no limit",
        help="Resident memory at which a worker is replaced.",
    )
    reload: bool = setting(
        False,
        group=WORKERS,
        help="Reload the application when its files change, for development.",
    )

    pid_file: str = setting(
        "",
        metavar="FILE",
        group=PROCESSES,
        help="File that the master writes its process id to, and removes at its end.",
    )
    control_socket: str = setting(
        "auto",
        metavar="PATH",
        group=PROCESSES,
        help="Unix socket for pounce ctl; auto picks one by the master's process id, off makes "
        "none.",
    )
    user: str = setting(
        "",
        metavar="USER",
        group=PROCESSES,
        help="Who the processes become once the addresses are bound, by name or number.",
    )
    group: str = setting(
        "", metavar="GROUP", group=PROCESSES, help="The same for the group; default: the user's."
    )
    umask: str = setting(
        "",
        metavar="MASK",
        group=PROCESSES,
        form=UMASK,
        help="Permission bits that files made by the processes lack, such as 027.",
    )
