"""The templates of the generations, on the master's side: what they say becomes events."""

from __future__ import annotations

import logging
import selectors
from collections.abc import Callable
from dataclasses import dataclass

from pounce import ipc
from pounce.errors import EXIT_BOOT
from pounce.supervisor import orders
from pounce.supervisor.template import Load, Run, Template, can_have_templates

log = logging.getLogger("pounce")


@dataclass(frozen=True, slots=True)
class Preload:
    """Import the application once per generation, in a process that forks the workers.

    Attributes:
        load: imports it; what it returns goes to `run`.
        run: a worker that has it already.
        always: also when the import leaves threads or sockets behind, which no fork survives well.
    """

    load: Load
    run: Run
    always: bool = False


class Templates:
    """One template for each generation that needs workers.

    Args:
        tell: takes the events.
        selector: where their channels are watched.
    """

    def __init__(
        self, tell: Callable[[orders.Event], None], selector: selectors.BaseSelector
    ) -> None:
        self._tell = tell
        self._selector = selector
        self._by_generation: dict[int, Template] = {}

    def of(self, generation: int) -> Template | None:
        """None: its workers are forked by the master and import for themselves."""
        return self._by_generation.get(generation)

    def load(
        self,
        generation: int,
        preload: Preload,
        *,
        first: Callable[[], None],
    ) -> None:
        """Starts a template; answered by Loaded or LoadFailed."""
        if not can_have_templates():
            self._tell(orders.Loaded(generation))
            return
        try:
            template = Template(generation, load=preload.load, run=preload.run, first=first)
        except OSError as error:
            self._tell(orders.LoadFailed(generation, EXIT_BOOT, str(error)))
            return
        self._by_generation[generation] = template
        self._selector.register(
            template.channel, selectors.EVENT_READ, lambda: self._hear(template, preload)
        )

    def unload(self, generation: int) -> None:
        """Lets a template go; its workers stay."""
        if template := self._by_generation.pop(generation, None):
            self._selector.unregister(template.channel)
            template.close()
            if not template.loaded:
                template.kill()

    def close(self) -> None:
        """All channels, in the master at its end and in each process that it forks."""
        for template in self._by_generation.values():
            template.close()

    def _hear(self, template: Template, preload: Preload) -> None:
        generation = template.generation
        try:
            for message in template.read():
                match message:
                    case ipc.Loaded(left_behind):
                        template.loaded = True
                        if left_behind:
                            self._warn(left_behind, generation, preload)
                        self._tell(orders.Loaded(generation))
                    case ipc.Failed(code, why, trace):
                        self.unload(generation)
                        self._tell(orders.LoadFailed(generation, code, why, trace))
                        return
        except EOFError:
            if self._by_generation.get(generation) is template:
                self.unload(generation)
                self._tell(orders.TemplateGone(generation))

    def _warn(self, left_behind: str, generation: int, preload: Preload) -> None:
        if preload.always:
            log.warning("import started %s, which no fork survives well", left_behind)
        else:
            log.warning("import started %s, so each worker imports for itself", left_behind)
            self.unload(generation)
