"""The functions of `import localprobe as lp`: load, connect, fit, validate, calibrate, concept, bake.

Their results are recorded as runs, like those of the command line.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localprobe.concepts import PAIRS, TEMPERATURE, TOKENS
from localprobe.contrast.pair_set import PairSet, pairs
from localprobe.probing.config import ProbeConfig

if TYPE_CHECKING:
    from localprobe.baking import Baked
    from localprobe.capture.job import Amount
    from localprobe.client.model import RemoteModel
    from localprobe.concepts.written import Writing
    from localprobe.engine import LoadOptions
    from localprobe.model import Model
    from localprobe.probing.calibrate import CalibrationReport
    from localprobe.probing.named import Reference
    from localprobe.probing.report import ProbeReport
    from localprobe.vectors.vector import Vector


def load(name: str, engine: str | None = None, options: LoadOptions | None = None, *, remote: bool = False) -> Model:
    """Load a model by short name, Hugging Face id, folder or GGUF file, and check that its engine captures and steers
    as it should.

    `engine` None takes the best one installed that can load it; `remote` runs it in a child process, so that a native
    crash does not end this one. Use the model as a context manager, or `close` it. Raises ModelError or EngineError.
    """
    from localprobe.model import Model

    return Model.load(name, engine, options, remote=remote)


def connect(url: str, key: str | None = None, *, model: str | None = None, timeout: float = 600.0) -> RemoteModel:
    """Connect to a server (`localprobe serve`) at `http://HOST:PORT`: its model answers, streams and captures as one
    that is loaded here, and steers by the vectors that the server keeps.

    `key` None takes the one of LOCALPROBE_API_KEY; `model` names one of several; `timeout` is how many seconds the
    server may be silent. Use the model as a context manager, or `close` it. Raises EndpointError if no server is there
    or it refuses the key, or UnknownModel.
    """
    from localprobe.client.connecting import connect as connect_to

    return connect_to(url, key, model=model, timeout=timeout)


def fit(
    model: Model,
    data: Any,
    config: ProbeConfig = ProbeConfig(),
    *,
    concept: str = "",
    test: Any = None,
    layers: Sequence[int] | None = None,
    keywords: Mapping[str, str] | None = None,
    validate: bool = True,
    record: bool = True,
    capturing: Callable[[Amount], None] = lambda amount: None,
    progress: Callable[[str], None] = lambda step: None,
) -> ProbeReport:
    """Fit a probe of a concept and test it on pairs held out; see `localprobe.probing.fit.fit`.

    `data` and `test` are what `localprobe.pairs` takes: the name of a set that ships, a path, tuples or a DataFrame.
    The result is recorded as a run and the vector kept in the library under its concept, unless `record` is False.
    Re-running resumes a capture. Raises DataError, UsageError or EngineError.
    """
    from localprobe.probing.fit import fit as fit_probe

    training = pairs(data, concept=concept)
    report = fit_probe(
        model,
        training.pairs,
        config,
        concept=concept or training.concept,
        test=None if test is None else pairs(test).pairs,
        layers=layers,
        keywords=keywords,
        validate=validate,
        capturing=capturing,
        progress=progress,
    )
    if not record:
        return report
    from localprobe.vectors.library import Library

    Library().keep(report.vector)
    return _recorded(report, "validate" if validate else "fit", training)


def validate(
    model: Model,
    probe: Reference,
    data: Any,
    config: ProbeConfig = ProbeConfig(),
    *,
    train: Any = None,
    keywords: Mapping[str, str] | None = None,
    record: bool = True,
    capturing: Callable[[Amount], None] = lambda amount: None,
    progress: Callable[[str], None] = lambda step: None,
) -> ProbeReport:
    """Measure a probe on those pairs of `data` that it was not fitted on; see `localprobe.probing.validate`.

    `probe` is a vector, a file, or a name in the library; `train` are the pairs that it was fitted on, if `data` lacks
    them. `config` gives the resampling budget. Raises DataError, UsageError, VectorError or EngineError.
    """
    from localprobe.probing.validate import texts_for
    from localprobe.probing.validate import validate as validate_probe

    direction, unseen = vector(probe, model), pairs(data)
    texts = texts_for(
        direction,
        unseen.pairs,
        train=() if train is None else pairs(train).pairs,
        config=config,
        keywords=keywords,
        source=unseen.source or "the set",
    )
    report = validate_probe(model, direction, texts, capturing=capturing, progress=progress)
    return _recorded(report, "validate", unseen) if record else report


def calibrate(
    model: Model,
    probe: Reference,
    fpr: float = 0.01,
    texts: str | Path | Sequence[str] | None = None,
    *,
    layers: Sequence[int] | None = None,
    answers: int = 0,
    tokens: int = 60,
    positives: str | Path | None = None,
    seed: int = 0,
    capturing: Callable[[Amount], None] = lambda amount: None,
) -> CalibrationReport:
    """Find the scores above which neutral tokens and texts lie at a false-positive rate, at `layers` or the probe's
    best one; see `localprobe.probing.calibration`.

    `texts` are neutral texts, or their file or set; with `answers`, questions that the model answers so many times, in
    at most `tokens` tokens. Shipped ones if None. `positives` names pairs for the true-positive rate; the set that
    ships for the concept if None. The thresholds are kept in the file of a probe given by file or by name; for a vector
    in memory they are in the report's. Raises UsageError, VectorError, or DataError for too few texts.
    """
    from localprobe.probing import calibrate as calibration
    from localprobe.vectors.vector import Vector

    if not isinstance(probe, Vector):
        calibration.check(probe, fpr)
    neutral = calibration.Neutral.read(texts, answers=answers, tokens=tokens, seed=seed)
    direction = vector(probe, model)
    pairs_of = calibration.positives_of(direction, positives)
    report = calibration.calibrate(
        model, direction, fpr, neutral, layers=layers, positives=pairs_of, capturing=capturing
    )
    return calibration.keep(report, probe, model.info)


def concept(
    model: Model,
    word: str,
    *,
    against: str = "",
    generators: Sequence[str] = (),
    pairs: int = PAIRS,
    config: ProbeConfig = ProbeConfig(),
    temperature: float = TEMPERATURE,
    tokens: int = TOKENS,
    output: str | Path | None = None,
    writing: Writing = lambda outcome, done, total: None,
    notify: Callable[[str], None] = warnings.warn,
    capturing: Callable[[Amount], None] = lambda amount: None,
    progress: Callable[[str], None] = lambda step: None,
) -> ProbeReport:
    """Find the direction of a concept from words alone, `word` set `against` another, or its opposite if none is given.

    The model itself answers varied situations in the manner of either word, or `generators` do, by name
    (`ollama:qwen2.5:7b`, `MODEL@URL`; see `localprobe.generators.names`). These `pairs` of texts, of at most `tokens`
    tokens each, are checked as by `localprobe data check`, and a probe is fitted and validated on them. The vector is
    kept in the library as `word` whatever the verdict says, and the result as a run.

    Pairs are kept as they are written, in `output` or in a file of these words in localprobe's data folder: re-running
    resumes. `config.seed` seeds the texts too. `notify` is told what is wrong with the pairs, and what to do where the
    verdict is bad. Raises UsageError, DataError for too few usable pairs, EndpointError or EngineError.
    """
    from localprobe.concepts.concept import Concept
    from localprobe.concepts.direction import direction
    from localprobe.generators import names

    result = direction(
        model,
        Concept(word, against),
        config,
        generators=names.generators(generators, notify=notify),
        pairs=pairs,
        temperature=temperature,
        tokens=tokens,
        output=None if output is None else Path(output),
        writing=writing,
        notify=notify,
        capturing=capturing,
        progress=progress,
    )
    if result.advice:
        notify(result.advice)
    return result.report


def vector(reference: Reference, model: Model | None = None) -> Vector:
    """A vector by its file, or by its name in the library.

    With a `model`, a name means the vector for that model; if the library has none, it is fitted on the contrast set of
    that name that ships. Raises VectorError if there is no such vector, or several that a model would distinguish.
    """
    from localprobe.probing.named import vector_for
    from localprobe.vectors.library import Library
    from localprobe.vectors.vector import Vector

    if model is not None:
        return vector_for(model, reference)
    return reference if isinstance(reference, Vector) else Library().vector(reference)


def bake(
    model: str,
    vectors: Reference | Sequence[Reference],
    output: str | Path,
    *,
    layer: int | None = None,
    share: float = 1.0,
    check: bool = True,
    notify: Callable[[str], None] = warnings.warn,
) -> Baked:
    """Write a model's weights into the folder `output`, with the direction of a vector, or the span of several, removed
    from all that writes to the residual stream; see `localprobe.baking.removal.bake`.

    `model` is a name, a folder or a GGUF file: it need not be loaded. `share` (0 to 1) of the direction is removed.
    Raises UsageError, VectorError, ModelError or EngineError.
    """
    from localprobe.baking import bake as bake_model
    from localprobe.vectors.vector import Vector

    several = [vectors] if isinstance(vectors, Vector | str | Path) else list(vectors)
    return bake_model(model, several, Path(output), layer=layer, share=share, check=check, notify=notify)


def _recorded(report: ProbeReport, kind: Any, data: PairSet) -> ProbeReport:
    from localprobe.probing.recorded import record

    return record(report, kind, pairs=data.source or data.concept, hashes={f"pairs {data.concept}": data.hash})
