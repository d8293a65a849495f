"""Layers of given values to one Config, with each value's origin. Reads no file and no environment.

The order of precedence is flag, POUNCE_* variable, TOML, default; whoever calls resolve() brings
the layers in that order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from pounce.config import SETTINGS, Config
from pounce.errors import UsageError
from pounce.mistakes import renamed
from pounce.settings import Value, did_you_mean


class Given(NamedTuple):
    """A value and where it was given: ``--workers``, ``POUNCE_WORKERS``, ``pounce.toml``."""

    value: Value
    origin: str


Layer: TypeAlias = Mapping[str, Given]


@dataclass(frozen=True, slots=True)
class Resolved:
    """A Config, and for each setting that was given where that was; the rest are defaults."""

    config: Config
    origins: Mapping[str, str]

    def origin(self, name: str) -> str:
        return self.origins.get(name, "default")


def from_flags(flags: Mapping[str, str | tuple[str, ...]]) -> Layer:
    """The layer of the command line; repeated flags come as tuples, yes-or-no ones as a text."""
    layer = {}
    for name, given in flags.items():
        one = SETTINGS[name]
        text = given if isinstance(given, str) else ",".join(given)
        off = isinstance(one.default, bool) and text == "false"
        origin = one.off_flag if off else one.flag
        origin = "the command line" if name == "app" else origin
        layer[name] = Given(one.read(text, origin=origin), origin)
    return layer


def from_environ(environ: Mapping[str, str]) -> tuple[Layer, list[str]]:
    """The layer of the POUNCE_* variables, and a warning for each of them that is no setting.

    Not an error, since not all are the user's: for a service that is named "pounce", Kubernetes
    sets POUNCE_SERVICE_HOST, POUNCE_PORT_8000_TCP, and POUNCE_PORT to "tcp://10.0.0.1:8000".
    """
    known = {one.variable: one for one in SETTINGS.values()}
    bare = [variable.removeprefix("POUNCE_") for variable in known]  # the prefix is always near
    layer, warnings = {}, []
    for variable, text in environ.items():
        if variable == "POUNCE_PORT" and text.startswith("tcp://"):
            warnings.append(f"{variable}={text} looks set by Kubernetes and is ignored")
        elif one := known.get(variable):
            layer[one.name] = Given(one.read(text, origin=variable), variable)
        elif variable.startswith("POUNCE_"):
            name = variable.removeprefix("POUNCE_")
            hint = renamed(name.lower(), lambda own: SETTINGS[own].variable)
            hint = hint or did_you_mean(name, bare, form="POUNCE_{}")
            warnings.append(f"{variable} is not a setting and is ignored{hint}")
    return layer, warnings


def from_table(table: Mapping[str, object], *, origin: str) -> Layer:
    """The layer of a TOML table or of keyword arguments. Dashes in names stand for underscores.

    Raises:
        UsageError: a key that is no setting; says which is meant, where one is near.
    """
    layer: dict[str, Given] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in SETTINGS:
            if isinstance(value, Mapping):
                where = f"(from {origin}); the settings stand in no table below it"
                raise UsageError(f"[{key}] is not a setting {where}")
            hint = renamed(name) or did_you_mean(name, SETTINGS)
            raise UsageError(f"{key} is not a setting (from {origin}){hint}")
        if name in layer:
            raise UsageError(f"{name} is given twice in {origin}, once with a dash")
        layer[name] = Given(SETTINGS[name].take(value, origin=origin), origin)
    return layer


def resolve(*layers: Layer) -> Resolved:
    """One Config out of layers, the strongest first.

    ``bind`` and ``host``/``port`` say the same thing in two ways: a stronger layer's way replaces
    a weaker layer's other way, and both in one layer are refused.
    """
    chosen: dict[str, Given] = {}
    for layer in layers:
        short = [name for name in ("host", "port") if name in layer]
        if "bind" in layer and short:
            raise UsageError(
                f"{layer['bind'].origin} and {layer[short[0]].origin} both say where to listen: "
                f"bind is {', '.join(_items(layer['bind']))} and {short[0]} is "
                f"{layer[short[0]].value}; give one of them"
            )
        rivals = {"bind": {"host", "port"}, "host": {"bind"}, "port": {"bind"}}
        decided = set(chosen)
        chosen |= {
            name: given
            for name, given in layer.items()
            if name not in decided and not rivals.get(name, set()) & decided
        }
    values: dict[str, Any] = {name: given.value for name, given in chosen.items()}
    return Resolved(Config(**values), {name: given.origin for name, given in chosen.items()})


def _items(given: Given) -> tuple[str, ...]:
    return given.value if isinstance(given.value, tuple) else (str(given.value),)
