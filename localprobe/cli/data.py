"""`localprobe data`: contrast sets, checked and generated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localprobe.cli.output import say, say_json, say_marked
from localprobe.cli.pairs import pair_options, read_shape

if TYPE_CHECKING:
    from localprobe.contrast.check import Checked
    from localprobe.contrast.findings import Finding
    from localprobe.contrast.pairs import ReadPairs
    from localprobe.generators.generate import GeneratedPair, Generation

_SHOWN = 12  # line numbers, or groups of them; JSON has all


@click.group()
def data() -> None:
    """Check contrast sets, and generate them."""


@data.command()
@click.argument("file")
@click.option(
    "--test", type=click.Path(path_type=Path), help="The file that will test the probe; if not given, a split of FILE."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the split, if there is no --test.")
@click.option("--json", "as_json", is_flag=True, help="Print the measures and all findings as JSON.")
@pair_options
def check(file: str, test: Path | None, seed: int, as_json: bool, fields: dict[str, str | None]) -> None:
    """Look for faults in FILE, a contrast set, or the name of a set that ships. - reads standard input.

    FILE is JSONL, a JSON array, an object of two lists, CSV, TSV or Parquet. It needs no options if its fields are
    positive and negative; those of CAA and of Anthropic's evaluations (question, answer_matching_behavior,
    answer_not_matching_behavior); or prompt, chosen and rejected. A text may be a list of chat messages, of which the
    last is the text and the user's before it the prompt. What FILE was read as is printed.

    It reports duplicates and near-duplicates, texts in both poles or both splits, poles that differ in length, in one
    word or as bags of words, swapped keywords, refusals, and too few pairs. Each finding names its lines. The exit
    status is 2 if a finding is an error or the file cannot be read, else 0.

    \b
    localprobe data check pairs.jsonl
    localprobe data check theirs.jsonl --positive-field empathic_text --negative-field non_empathic_text
    """
    from localprobe.contrast.check import check as look
    from localprobe.contrast.pairs import PAIR_SETS
    from localprobe.store.text_files import STDIN

    read_set = read_shape(Path(file) if file == STDIN else PAIR_SETS.resolve(file), fields)
    checked = look(read_set.pairs, read_shape(test, fields).pairs if test else None, seed=seed)
    if as_json:
        about = {"file": read_set.source, "shape": read_set.shape, "notes": read_set.notes}
        say_json({**about, **checked.as_json()}, indent=2)
    else:
        _print(read_set, checked)
    if not checked.usable:
        click.get_current_context().exit(2)


def _print(read_set: ReadPairs, checked: Checked) -> None:
    say(
        f"{read_set.source}: {checked.pairs} pairs, {checked.test_pairs} of them to test a probe, "
        f"{_count(len(checked.scenarios), 'scenario')}"
    )
    say(f"  read as {read_set.shape}")
    for note in read_set.notes:
        say(f"  note: {note}")
    positive, negative = checked.mean_words
    say(f"  words: {positive:.0f} in a positive text, {negative:.0f} in a negative one (means)")
    say(f"  AUROC of length alone {checked.length_auroc:.2f}, of a bag of words {checked.words_auroc:.2f}")
    for finding in checked.findings:
        say_finding(finding)
    say(checked.judgement)


def say_finding(finding: Finding, indent: str = "") -> None:
    """Print a finding with its severity and its lines."""
    colour = {"error": "red", "warning": "yellow"}.get(finding.severity)
    say(indent, nl=False)
    say_marked(finding.severity, colour, f": {finding.kind}: {finding.message}{_where(finding)}")


def _where(finding: Finding) -> str:
    """The lines of a finding, as the end of its sentence."""
    places = []
    if finding.groups:
        groups = [" = ".join(map(str, group)) for group in finding.groups]
        places.append(f"lines {_some(groups, '; ')}")
    elif finding.lines:
        places.append(f"line{'s' if len(finding.lines) > 1 else ''} {_some(_ranges(finding.lines), ', ')}")
    if finding.test_lines:
        places.append(f"of the test file {_some(_ranges(finding.test_lines), ', ')}")
    return f" [{'; '.join(places)}]" if places else ""


def _some(parts: list[str], between: str) -> str:
    rest = len(parts) - _SHOWN
    return between.join(parts[:_SHOWN]) + (f"{between}and {rest} more" if rest > 0 else "")


def _ranges(lines: tuple[int, ...]) -> list[str]:
    """Ascending lines as `3` and `5-9`."""
    runs: list[list[int]] = []
    for line in lines:
        if runs and line == runs[-1][-1] + 1:
            runs[-1].append(line)
        else:
            runs.append([line])
    return [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]


@data.command()
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="The JSONL file to add pairs to.")
@click.option(
    "--generator",
    "-g",
    "names",
    multiple=True,
    required=True,
    help="ollama:MODEL, lmstudio:MODEL, llama-server:MODEL, openai:MODEL, anthropic:MODEL, openrouter:MODEL, MODEL@URL "
    "or local:MODEL[@ENGINE]; repeat it to rotate over several.",
)
@click.option(
    "--scenarios",
    type=click.Path(path_type=Path),
    help="JSON, JSONL or CSV of scenarios; the five of empathy if not given.",
)
@click.option(
    "--system-prompts",
    type=click.Path(path_type=Path),
    help="JSON with positive, negative and task; ours of empathy if not given.",
)
@click.option("--runs", type=click.IntRange(min=1), default=1, show_default=True, help="Pairs of each scenario.")
@click.option("--temperature", type=click.FloatRange(min=0), default=0.7, show_default=True)
@click.option("--tokens", type=click.IntRange(min=1), default=300, show_default=True, help="The most tokens of a text.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--retries",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    help="How often to ask again after a refusal.",
)
@click.option(
    "--key-env",
    "keys",
    multiple=True,
    metavar="[HOST=]VARIABLE",
    help="Environment variable of the API key; openai:, anthropic: and openrouter: have defaults.",
)
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=300.0, show_default=True, help="Seconds."
)
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON.")
def generate(
    output: Path,
    names: tuple[str, ...],
    keys: tuple[str, ...],
    timeout: float,
    retries: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Generate pairs: each scenario answered under two opposite system prompts, rotating over generators.

    Every line records how its texts were generated. Re-running the command resumes it: pairs that the file holds are
    not generated again. Refusals and empty answers are retried, then written to OUTPUT.rejected.jsonl.

    \b
    localprobe data generate -o pairs.jsonl --runs 12 -g ollama:qwen2.5:7b -g local:phi-3-mini
    """
    from localprobe.cli.show import loading
    from localprobe.generators.generate import Generation
    from localprobe.generators.names import generators

    recipe = _recipe(**options)
    writers = generators(names, keys, timeout=timeout, notify=_note, loading=loading)
    with Generation(recipe, writers, output, retries=retries, notify=_note) as generation:
        results = _run(generation)
    report = {
        "output": str(output),
        "written": sum(result.accepted for result in results),
        "already": generation.already,
        "rejected": sum(not result.accepted for result in results),
        "rejected_before": generation.refused_before,
        "rejected_file": str(generation.rejected_path),
        "other_lines": generation.others,
        "cut": sum("length" in result.record["finish"].values() for result in results),
        "tokens": sum(result.tokens for result in results),
    }
    if as_json:
        say_json(report)
    else:
        say(_summary(report, recipe.tokens))
    if not report["written"] and not report["already"]:
        click.get_current_context().exit(2)


def _recipe(scenarios: Path | None, system_prompts: Path | None, **options: Any) -> Any:
    from localprobe.contrast.scenario_file import read_scenarios
    from localprobe.contrast.scenarios import scenarios as shipped_scenarios
    from localprobe.contrast.system_prompts import SYSTEM_PROMPTS, read_system_prompts
    from localprobe.generators.generate import Recipe

    selected = read_scenarios(scenarios) if scenarios else shipped_scenarios().values()
    prompts = read_system_prompts(SYSTEM_PROMPTS.resolve(system_prompts or "empathy"))
    return Recipe(tuple(selected), prompts, **options)


def _run(generation: Generation) -> list[GeneratedPair]:
    """Generate the pairs, with one line per pair on stderr. After Ctrl-C it says how many are saved."""
    from localprobe.cli.show import Writing

    total = len(generation.pending)
    results: list[GeneratedPair] = []
    writing = Writing()
    try:
        for pair in generation:
            results.append(pair)
            writing(pair, len(results), total)
    except BaseException:
        if results:
            _note(f"{len(results)} of {total} pairs are saved; re-running the command resumes it")
        raise
    return results


def _summary(report: dict[str, Any], tokens: int) -> str:
    lines = [f"{_count(report['written'], 'pair')} written, {report['already']} already there -> {report['output']}"]
    if report["other_lines"]:
        lines.append(
            f"note: {_count(report['other_lines'], 'line')} of that file were made with other settings and are kept"
        )
    if rejected := report["rejected"] + report["rejected_before"]:
        lines.append(
            f"warning: {_count(rejected, 'pair')} {'was' if rejected == 1 else 'were'} refused or empty -> "
            f"{report['rejected_file']} "
            "(delete it to retry them)"
        )
    if report["cut"]:
        lines.append(f"warning: {_count(report['cut'], 'pair')} cut at {tokens} tokens: give --tokens more")
    if report["written"] or report["already"]:
        lines.append(f"next: localprobe data check {report['output']}")
    return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _note(line: str) -> None:
    say(line, err=True)
