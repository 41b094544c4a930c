"""Files that ship with localprobe, found by name wherever a path may be given.

PAIR_SETS.resolve("empathy")        the shipped set
PAIR_SETS.resolve("mine.jsonl")     a file
PAIR_SETS.resolve("empaty")         DataError: no contrast set is named 'empaty' (did you mean 'empathy'?) ...
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from localprobe.errors import DataError
from localprobe.store.names import exists, path_of
from localprobe.suggest import close_match, shown

_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Shipped:
    """The shipped files of one kind, each named by its stem."""

    what: str
    """Name of the kind in messages: `contrast set`, `experiment`."""
    place: str
    """The folder, relative to the package."""
    suffix: str

    @property
    def folder(self) -> Path:
        """The folder of the files."""
        return _PACKAGE / self.place

    def names(self) -> list[str]:
        """The names, sorted."""
        return sorted(path.stem for path in self.folder.glob(f"*{self.suffix}"))

    def holds(self, path: Path) -> bool:
        """Whether a path is that of a shipped file."""
        return path.parent == self.folder

    def path(self, name: str) -> Path:
        """The file of a name. DataError lists the names if there is none."""
        if name not in self.names():  # not whether there is such a file: a name may hold `../`
            raise DataError(f"{unknown(self.what, name, self.names())}; or give a file")
        return self.folder / f"{name}{self.suffix}"

    def resolve(self, written: str | Path, folder: Path = Path()) -> Path:
        """The file of a path relative to `folder`, or of a name; an existing file takes precedence over a name.

        A path to a missing file is returned unchanged, and fails when it is read. DataError for an unknown name.
        """
        path = folder / path_of(written)
        is_name = Path(written).name == str(written) and not path.suffix
        return self.path(str(written)) if is_name and not exists(path) else path


def unknown(what: str, name: str, names: Iterable[str]) -> str:
    """The message for an unknown name, with the one that was probably meant and all that exist."""
    names = list(names)
    near = close_match(name, names)
    return (
        f"no {what} is named {shown(name)}{f' (did you mean {near!r}?)' if near else ''}: there are {', '.join(names)}"
    )
