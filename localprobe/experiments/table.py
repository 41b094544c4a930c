"""A TOML table read strictly: every key known, every value of the right kind, every mistake one line with its key."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from localprobe.errors import DataError


def read_toml(path: Path) -> Table:
    """The whole of a TOML file. DataError if it cannot be read."""
    try:
        return Table(tomllib.loads(path.read_text(encoding="utf-8-sig")), str(path))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"cannot read {path}: not UTF-8 at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path} is not TOML: {error}") from error


class Table:
    """One table; keys are taken out of it, and `done` refuses those that nobody took."""

    def __init__(self, values: dict[str, Any], place: str) -> None:
        self._values, self.place = values, place
        self._taken: list[str] = []

    def has(self, key: str) -> bool:
        """Whether the key is there; it is taken by that."""
        self._taken.append(key)
        return key in self._values

    def text(self, key: str, default: str | None = None) -> str:
        """A text that is not empty; required if there is no default."""
        if default is not None and key not in self._values:
            self._taken.append(key)
            return default
        value = self._get(key, None)
        if not isinstance(value, str) or not value.strip():
            self.wrong(key, f"{value!r} is not a text")
        return str(value)

    def number(self, key: str, default: float, least: float = -math.inf, most: float = math.inf) -> float:
        """A finite number in [least, most]."""
        value = self._get(key, default)
        if not _is_number(value) or not least <= value <= most:
            self.wrong(key, f"{value!r} is not a number{_range(least, most)}")
        return float(value)

    def whole(self, key: str, default: int, least: int = 0) -> int:
        """A whole number, at least `least`."""
        value = self._get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            self.wrong(key, f"{value!r} is not a whole number{_range(least)}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """true or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            self.wrong(key, f"{value!r} is neither true nor false")
        return value

    def items(self, key: str, default: list[Any] | None = None) -> list[Any]:
        """A list that is not empty; required if there is no default."""
        if default is not None and key not in self._values:
            self._taken.append(key)
            return default
        value = self._get(key, None)
        if not isinstance(value, list) or not value:
            self.wrong(key, f"{value!r} is not a list with something in it")
        return list(value)

    def some(self, key: str) -> list[Any]:
        """A list that is not empty, or one value as a list of it."""
        value = self._get(key, None)
        return self.items(key) if isinstance(value, list) else [value]

    def tables(self, key: str) -> Iterator[Table]:
        """The tables of `[[key]]`, none if it is absent."""
        found = self._get(key, [])
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            self.wrong(key, f"write each as a table of its own, under [[{key}]]")
        for number, each in enumerate(found, 1):
            yield Table(each, f"{self.place}, {key} {number}")

    def table(self, key: str) -> Table:
        """The table `[key]`, empty if it is absent."""
        found = self._get(key, {})
        if not isinstance(found, dict):
            self.wrong(key, f"write it as a table, under [{key}]")
        return Table(found, f"{self.place}, [{key}]")

    def done(self) -> None:
        """DataError for a key that nobody asked for: a typing error would be passed over in silence."""
        for key in self._values:
            if key not in self._taken:
                near = difflib.get_close_matches(key, self._taken, 1, 0.75)
                meant = f"did you mean {near[0]!r}? It" if near else "it"
                raise DataError(
                    f"{self.place}: unknown key {key!r}: {meant} may be one of {', '.join(dict.fromkeys(self._taken))}"
                )

    def wrong(self, key: str, what: str) -> NoReturn:
        """Refuse a value."""
        raise DataError(f"{self.place}: {key}: {what}")

    def _get(self, key: str, default: Any) -> Any:
        self._taken.append(key)
        if key not in self._values and default is None:
            raise DataError(f"{self.place}: {key} is missing")
        return self._values.get(key, default)


def numbers(table: Table, key: str) -> list[float]:
    """A list of finite numbers."""
    found = table.items(key)
    wrong = next((each for each in found if not _is_number(each)), None)
    if wrong is not None:
        table.wrong(key, f"{wrong!r} is not a finite number")
    return [float(each) for each in found]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _range(least: float, most: float = math.inf) -> str:
    if most < math.inf:
        return f" from {least:g} to {most:g}"
    return f" of {least:g} or more" if least > -math.inf else ""
