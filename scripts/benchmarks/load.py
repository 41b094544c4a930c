"""Loading the bundled GGUF file for torch: localprobe's second load against a first one by transformers alone.

localprobe converts the file once into a folder in its cache; the load that warms up does that, so it is not timed.
transformers keeps nothing of a GGUF file, so each of its loads is a first one: most of it converts the tokenizer.
Both in one process, where the libraries are imported, and as whole processes, most of which is the import: the last
row shows how fast any load through transformers can be.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.timing import interleaved, limit
from localprobe import discovery, models

OURS = "from localprobe.model import Model; Model.load('smollm2-135m', 'torch').close()"
IMPORT = "import transformers.models.llama.modeling_llama"
THEIRS = """
import sys
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, file = sys.argv[1:]
AutoTokenizer.from_pretrained(folder, gguf_file=file)
AutoModelForCausalLM.from_pretrained(folder, gguf_file=file)
"""


def one_process(file: Path) -> dict[str, Any]:
    """Both loads where everything is imported: the warm-up sees to that."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from localprobe.model import Model

    def theirs() -> None:
        AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
        AutoModelForCausalLM.from_pretrained(str(file.parent), gguf_file=file.name)

    ours, other = interleaved(lambda: Model.load("smollm2-135m", "torch").close(), theirs, rounds=3)
    measure = "load: torch, the bundled GGUF a second time, against a first time by transformers, in one process"
    return {"measure": measure, "ours": ours, "other": other, "unit": "s", "ratio": other / ours, "goal": 6}


def whole_processes(file: Path) -> list[dict[str, Any]]:
    """The same from the start of Python, and what of it is the import."""

    def python(*arguments: str) -> None:
        ran = subprocess.run([sys.executable, "-c", *arguments], capture_output=True, text=True, check=False)
        if ran.returncode:  # else what it prints are bars
            sys.exit(ran.stderr)

    ours, other = interleaved(lambda: python(OURS), lambda: python(THEIRS, str(file.parent), file.name), rounds=3)
    measure = "load: the same as whole processes, imports included"
    results = [{"measure": measure, "ours": ours, "other": other, "unit": "s", "ratio": other / ours}]
    ours, other = interleaved(lambda: python(OURS), lambda: python(IMPORT), rounds=5)
    return [
        *results,
        limit("load: ours as a process, against importing transformers' Llama and no more", ours, other, "s"),
    ]


def main() -> None:
    file = models.resolve("smollm2-135m", discovery.backend("llama")).path
    print(json.dumps([one_process(file), *whole_processes(file)]))


main()
