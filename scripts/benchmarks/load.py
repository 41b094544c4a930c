"""Loading the bundled GGUF file for torch: localprobe's second load against transformers alone, each a whole process.

localprobe converts the file once into a folder in its cache; the run that warms up does that, so it is not timed.
transformers keeps nothing of a GGUF file, so each of its loads is a first one: most of it converts the tokenizer.
The second row shows how fast any load through transformers can be: importing its Llama is most of ours.
"""

from __future__ import annotations

import json
import subprocess
import sys

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


def main() -> None:
    file = models.resolve("smollm2-135m", discovery.backend("llama")).path

    def python(*arguments: str) -> None:
        ran = subprocess.run([sys.executable, "-c", *arguments], capture_output=True, text=True, check=False)
        if ran.returncode:  # else what it prints are bars
            sys.exit(ran.stderr)

    ours, other = interleaved(lambda: python(OURS), lambda: python(THEIRS, str(file.parent), file.name), rounds=3)
    measure = "load: torch, the bundled GGUF a second time, against transformers alone"
    results = [{"measure": measure, "ours": ours, "other": other, "unit": "s", "ratio": other / ours, "goal": 6}]
    ours, other = interleaved(lambda: python(OURS), lambda: python(IMPORT), rounds=5)
    results.append(limit("load: the same, against importing transformers' Llama and loading nothing", ours, other, "s"))
    print(json.dumps(results))


main()
