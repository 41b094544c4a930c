"""GGUF files that were split into parts: `name-00001-of-00003.gguf` and so on, all in one folder.

Metadata are in the first part, tensors in all of them. llama.cpp is given the first part and finds the others by name.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from localprobe.errors import CorruptFile, UnknownModel
from localprobe.gguf.header import Header, TensorInfo
from localprobe.gguf.reader import read_header

_PART = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL | re.ASCII)


def part_names(name: str) -> list[str]:
    """Names of all parts of the file that `name` is one part of, the first one first; `[name]` of a whole file.

    `model-00001-of-00001.gguf` is a whole file. `name` may have folders before it.
    """
    match = _PART.fullmatch(name)
    count = int(match["count"]) if match else 1
    if match is None or count < 2 or not 1 <= int(match["number"]) <= count:
        return [name]
    return [f"{match['stem']}-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1)]


def is_later_part(name: str) -> bool:
    """Whether this is a part other than the first one, by which the whole is named."""
    return part_names(name)[0] != name


def parts(path: Path) -> list[Path]:
    """The files that hold the model of a GGUF file, given any of them, the first one first.

    Raises UnknownModel, naming it, if one of several is missing.
    """
    names = part_names(path.name)
    files = [path.with_name(name) for name in names] if len(names) > 1 else [path]
    if len(files) > 1 and (missing := next((file for file in files if not file.is_file()), None)):
        raise UnknownModel(f"{missing} is missing: a GGUF file in {len(files)} parts needs all of them in one folder")
    return files


def read_model(path: Path | str) -> Header:
    """The header of a whole model: the file's own, or, given any part of a split file, that of all parts together.

    Raises as `read_header`, UnknownModel for a missing part, CorruptFile for parts that are not of one model.
    """
    files = parts(Path(path))
    headers = [read_header(file) for file in files]
    for number, header in enumerate(headers):
        _check_part(header, number, len(files))
    first = headers[0]
    if len(files) == 1:
        return first
    tensors: dict[str, TensorInfo] = {}
    for header in headers:
        for info in header.tensors.values():
            if info.name in tensors:
                raise CorruptFile(f"{header.path}: the tensor {info.name!r} is in another part too; download it again")
            tensors[info.name] = replace(info, file=header.path)
    total = first.value("split.tensors.count", int)
    if total is not None and total != len(tensors):
        raise CorruptFile(
            f"{first.path} and its other parts hold {len(tensors)} tensors and should hold {total}: "
            "some are parts of another file; download them again"
        )
    return replace(first, size=sum(header.size for header in headers), tensors=tensors)


def _check_part(header: Header, number: int, count: int) -> None:
    """A file's name and its header must agree about which part it is: llama.cpp goes by both."""
    said = header.value("split.count", int) or 1
    own = header.value("split.no", int) or 0
    if said != count or (count > 1 and own != number):
        what = f"part {own + 1} of {said}" if said > 1 else "a whole file"
        name = f"part {number + 1} of {count}" if count > 1 else "a whole file"
        raise CorruptFile(f"{header.path} is named as {name} and its header says that it is {what}: rename it back")
