"""Read an input of the fuzz suite again: `python -m tests.fuzz READER FILE`, or `--packed` and the text it printed."""

from __future__ import annotations

import argparse
import base64
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

from localprobe.errors import LocalprobeError
from tests.fuzz import languages, protocols, rows, texts, weights
from tests.fuzz.registry import READERS

KINDS = (weights, texts, rows, protocols, languages)  # importing them registers their readers
parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
parser.add_argument("reader", choices=READERS)
parser.add_argument("file", nargs="?", type=Path)
parser.add_argument("--packed")
arguments = parser.parse_args()
if (arguments.file is None) == (arguments.packed is None):
    parser.error("give a file, or --packed")
data = arguments.file.read_bytes() if arguments.file else zlib.decompress(base64.b85decode(arguments.packed))
with TemporaryDirectory() as folder:
    try:
        READERS[arguments.reader]().read(Path(folder), data)
    except LocalprobeError as error:
        print(f"{type(error).__name__}: {error}")
    else:
        print("read without an error")
