"""What a setting is: its limits, and how text becomes its value. Knows no particular setting.

Everything here raises ConfigError with the setting's name, the value, where it came from and what
would do, so that flags, variables, files and code are refused in one form of words.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias, cast

from pounce.errors import ConfigError

Value: TypeAlias = str | int | float | bool | tuple[str, ...]

# int() and float() take "1_000", " 1 ", "nan" and Arabic digits; a port must not.
INTEGER: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)
DECIMAL: Final = re.compile(r"-?[0-9]{1,18}(\.[0-9]{0,18})?", re.ASCII)
SIZE: Final = re.compile(r"([0-9]{1,15}) ?(KiB|MiB|GiB)", re.ASCII)
SIZE_UNIT: Final[Mapping[str, int]] = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
TRUTH: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


NO_WORDS: Final[Mapping[str, int]] = MappingProxyType({})


class Form(NamedTuple):
    """A further demand on a text, or on each item of a list: the test, and how to say it."""

    fits: Callable[[str], bool]
    want: str


def setting(
    default: Any,
    *,
    group: str,
    help: str,  # noqa: A002, RUF100  (it is what the reader looks for in a declaration)
    metavar: str = "",
    unit: str = "",
    zero: str = "",
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
    form: Form | None = None,
    words: Mapping[str, int] = NO_WORDS,
) -> Any:
    """A field of Config: its default and everything that flags, variables and docs need to know.

    Args:
        default: its type is the setting's type: str, int, float, bool or a tuple of str.
        group: the heading it stands under in ``--help`` and in the docs.
        help: one sentence, for both.
        metavar: what stands for the value in ``--help``, where the type says too little.
        unit: "seconds" or "bytes"; a setting in bytes may be written 64KiB or 1MiB.
        zero: what 0 means where it is not a number like others, such as "no limit".
        least, most: inclusive limits of a number.
        choices: the only texts it may be.
        form: what else a text, or each item of a list, must fulfil.
        words: texts that stand for a number.
    """
    metadata = {
        "group": group,
        "help": help,
        "metavar": metavar,
        "unit": unit,
        "zero": zero,
        "least": least,
        "most": most,
        "choices": choices,
        "form": form,
        "words": words,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One declared setting with its name; see setting() for the meaning of the rest."""

    name: str
    default: Value
    group: str
    help: str
    metavar: str
    unit: str
    zero: str
    least: float | None
    most: float | None
    choices: tuple[str, ...]
    form: Form | None
    words: Mapping[str, int]

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def off_flag(self) -> str:
        """The flag that turns a yes-or-no setting off."""
        return "--no-" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return "POUNCE_" + self.name.upper()

    @property
    def placeholder(self) -> str:
        """What stands for the value in a usage line: ``N``, ``SECONDS``, ``auto|on|off``."""
        if self.choices:
            return "|".join(self.choices)
        if self.words:
            return "|".join(["N", *self.words])
        return self.metavar or self.unit.upper() or "N"

    @property
    def facts(self) -> str:
        """Default, limits and the meaning of 0, as ``--help`` and the docs show them."""
        if self.default == 0 and self.zero:
            facts = [f"default: 0, {self.zero}"]
        else:
            numeric = isinstance(self.default, int | float)
            facts = [f"default: {self.shown(self.default)} {self.unit if numeric else ''}".rstrip()]
            facts += [f"0: {self.zero}"] if self.zero else []
        facts += [self.limits.lstrip(" ,")] if self.most is not None else []
        return "; ".join(facts)

    @staticmethod
    def shown(value: Value) -> str:
        """A value as it would be typed."""
        match value:
            case bool():
                return "yes" if value else "no"
            case int() | float():
                return f"{value:g}" if value < 1e6 else str(value)
            case tuple():
                return ",".join(value) or "none"
            case _:
                return value or "none"

    @property
    def want(self) -> str:
        """What it must be, to stand after "it must be"."""
        if self.form:
            return self.form.want
        match self.default:
            case bool():
                return "true or false"
            case str() if self.choices:
                return f"{', '.join(self.choices[:-1])} or {self.choices[-1]}"
            case int() if self.unit == "bytes":
                return "a number of bytes" + self.limits + ", such as 65536 or 64KiB"
            case int():
                return "a whole number" + self.limits + "".join(f", or {one}" for one in self.words)
            case float():
                return "a number of seconds" + self.limits
            case str():
                return "a text"
            case _:
                return "a list of texts"

    @property
    def limits(self) -> str:
        """The limits of a number, to stand after its name: ``, 1 or more``."""
        if self.least is not None and self.most is not None:
            return f" from {self.least:.12g} to {self.most:.12g}"
        return f", {self.least:g} or more" if self.least is not None else ""

    def read(self, text: str, *, origin: str) -> Value:
        """The value that a text from a flag or a variable stands for; lists split at commas.

        Raises:
            ConfigError: the text is not of the setting's type, or outside its limits.
        """
        value: Value
        match self.default:
            case bool() if text.lower() in TRUTH:
                value = TRUTH[text.lower()]
            case bool():
                raise self._refusal(text, origin)
            case int() if text in self.words:
                value = self.words[text]
            case int() if INTEGER.fullmatch(text):
                value = int(text)
            case int() if self.unit == "bytes" and (size := SIZE.fullmatch(text)):
                value = int(size[1]) * SIZE_UNIT[size[2]]
            case float() if DECIMAL.fullmatch(text):
                value = float(text)
            case str():
                value = text
            case tuple():
                value = tuple(item for item in map(str.strip, text.split(",")) if item)
            case _:
                raise self._refusal(text, origin)
        return self.check(value, origin=origin, given=text)

    def take(self, value: object, *, origin: str) -> Value:
        """The value that an object from a TOML file or from code stands for.

        Types are not guessed: ``workers = "4"`` is refused. A size may be a text (``"64KiB"``), a
        list of one a bare text.

        Raises:
            ConfigError: the object is not of the setting's type, or outside its limits.
        """
        match self.default, value:
            case bool(), bool(yes):
                return yes
            case (bool(), _) | (_, bool()):
                raise self._refusal(value, origin)
            case str(), str(text):
                return self.check(text, origin=origin)
            case int(), int(number):
                return self.check(number, origin=origin)
            case float(), int(number) | float(number):
                return self.check(float(number), origin=origin, given=number)
            case int(), str(text) if self.unit == "bytes" or text in self.words:
                return self.read(text, origin=origin)
            case tuple(), str(text):
                return self.read(text, origin=origin)
            case tuple(), list(items) | tuple(items) if all(isinstance(i, str) for i in items):
                return self.check(tuple(items), origin=origin)
        raise self._refusal(value, origin)

    def check(self, value: Value, *, origin: str, given: object = None) -> Value:
        """`value` itself, once it is known to keep the limits. `given` is how it was written."""
        match value:
            case str() if "\0" in value or (self.choices and value not in self.choices):
                raise self._refusal(value, origin)
            case str() if self.form and not self.form.fits(value):
                raise self._refusal(value, origin)
            case tuple():
                for item in value:
                    if "\0" in item or (self.form and not self.form.fits(item)):
                        raise self._refusal(item, origin)
            case int() | float() if not self._within(value):
                raise self._refusal(value if given is None else given, origin)
        return value

    def _within(self, number: float) -> bool:
        least = -math.inf if self.least is None else self.least
        most = math.inf if self.most is None else self.most
        return least <= number <= most and math.isfinite(number)

    def _refusal(self, value: object, origin: str) -> ConfigError:
        return ConfigError(self.name, value, origin=origin, want=self.want)


def declared(cls: type[Any]) -> Mapping[str, Setting]:
    """The settings that a dataclass declares, by name and in their order."""
    return {
        each.name: Setting(name=each.name, default=cast(Value, each.default), **each.metadata)
        for each in fields(cls)
    }


def did_you_mean(word: str, known: Iterable[str], *, form: str = "{}") -> str:
    """``; did you mean workers?``, or nothing when no known word is near. Case does not matter."""
    written = {each.lower(): each for each in known}
    near = difflib.get_close_matches(word.lower(), written, n=1, cutoff=0.6)
    return f"; did you mean {form.format(written[near[0]])}?" if near else ""
