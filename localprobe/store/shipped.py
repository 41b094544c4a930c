"""What ships with localprobe, found by its name wherever a path may be given instead.

PAIR_SETS.resolve("empathy")        the set that ships
PAIR_SETS.resolve("mine.jsonl")     a file
PAIR_SETS.resolve("empaty")         DataError: no contrast set is named 'empaty' (did you mean 'empathy'?) ...
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from localprobe.errors import DataError
from localprobe.suggest import close_match

_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Shipped:
    """The files of one kind that ship, each named by its stem."""

    what: str
    """In messages: `contrast set`, `experiment`."""
    place: str
    """The folder, from the package's root."""
    suffix: str

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return _PACKAGE / self.place

    def names(self) -> list[str]:
        """The names, sorted."""
        return sorted(path.stem for path in self.folder.glob(f"*{self.suffix}"))

    def holds(self, path: Path) -> bool:
        """Whether a path is that of a file that ships."""
        return path.parent == self.folder

    def path(self, name: str) -> Path:
        """The file of a name. DataError lists the names if none is called so."""
        path = self.folder / f"{name}{self.suffix}"
        if not path.is_file():
            raise DataError(f"{unknown(self.what, name, self.names())}; or give a file")
        return path

    def resolve(self, written: str | Path, folder: Path = Path()) -> Path:
        """The file that is meant by a path, seen from `folder`, or by a name; a file that exists goes before a name.

        A path that leads nowhere comes back as it is, for its reader to complain of; DataError for an unknown name.
        """
        path = folder / Path(written).expanduser()
        is_name = Path(written).name == str(written) and not path.suffix
        return self.path(str(written)) if is_name and not path.exists() else path


def unknown(what: str, name: str, names: Iterable[str]) -> str:
    """The message for a name that nothing has: the one that was probably meant, and all there are."""
    names = list(names)
    near = close_match(name, names)
    return f"no {what} is named {name!r}{f' (did you mean {near!r}?)' if near else ''}: there are {', '.join(names)}"
