"""Loading a GGUF file: options, precise errors, and a check that residuals can be read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import llama_cpp
import numpy as np
import psutil

from localprobe.engine import OPERATORS, Capabilities, FloatArray, Info, LoadOptions, Weights
from localprobe.errors import CorruptFile, LocalprobeError, ModelError, OutOfMemory, UnsupportedModel, UsageError
from localprobe.gguf.parts import read_model
from localprobe.models import fits
from localprobe.models.checkpoint import size
from localprobe_llama import device, library
from localprobe_llama.callback import Reader, Work
from localprobe_llama.engine import LlamaEngine
from localprobe_llama.interrupt import Interruptible
from localprobe_llama.model import LlamaModel
from localprobe_llama.pool import Need, Pool

_UNSUPPORTED = ("unknown model architecture", "unsupported model architecture", "pre-tokenizer", "unknown tokenizer")
_NO_MEMORY = ("unable to allocate", "failed to allocate", "out of memory", "cannot allocate")
_ROOM_TO_COMPUTE = 1 << 28  # bytes


def load(weights: Weights, options: LoadOptions) -> LlamaEngine:
    """Load a GGUF file. See `localprobe.engine.Backend.load`."""
    _refuse_foreign(options)
    blocks, gpu = device.placement(options)
    options, notes = _sized(weights.path, options, on_gpu=blocks != 0 and bool(device.gpus()))
    model = _open(weights.path, options, blocks, gpu)
    model.long_factors = _long_factors(model, weights.path)
    pool = Pool(model)
    try:
        _refuse_unreadable(model, weights.path)
        _probe(model, pool)
        info = _info(model, weights, options, notes)
    except BaseException:
        pool.close()
        model.close()
        raise
    return LlamaEngine(model, pool, info)


def _refuse_foreign(options: LoadOptions) -> None:
    if options.dtype is not None:
        raise UsageError(f"llama.cpp computes in the types of the file: leave out dtype {options.dtype!r}")
    if options.quantise is not None:
        raise UsageError(f"llama.cpp cannot quantise while loading: load a file that is {options.quantise} already")
    if options.trust_remote_code:
        raise UsageError("a GGUF file carries no code to trust: leave out trust_remote_code")
    if options.threads is not None and options.threads < 1:
        raise UsageError(f"{options.threads} threads: give at least 1, or nothing for the physical cores")
    if options.context is not None and options.context < 1:
        raise UsageError(f"a context of {options.context} tokens: give at least 1, or nothing for the model's own")


def _sized(path: Path, options: LoadOptions, *, on_gpu: bool) -> tuple[LoadOptions, tuple[str, ...]]:
    """The options, with low memory chosen if only that fits, and notes about it for the user.

    Raises OutOfMemory for a file larger than the machine's memory, unless `low_memory` is set.
    """
    if not path.is_file():
        raise ModelError(f"{path} is not a file: llama.cpp loads one GGUF file")
    if on_gpu:
        return options, ()
    stored, memory, free = size(path), psutil.virtual_memory().total, fits.available()
    taken = f"{path.name} takes {stored.bytes / 1e9:.1f} GB and"
    if options.low_memory:
        note = f"{taken} {free / 1e9:.1f} GB are free: what does not fit is read from the disk again for every token"
        return options, (note,) if stored.bytes > free else ()
    if stored.bytes + _ROOM_TO_COMPUTE > memory:
        raise OutOfMemory(
            f"{taken} this machine has {memory / 1e9:.1f}: use a smaller quantisation, or low memory, which is slow"
        )
    need = fits.needed(stored, "llama", options)
    if need is None or need <= free:
        return options, ()
    why = f"{taken} {free / 1e9:.1f} GB are free, so its weights stay in the file (low memory): down to half the speed"
    return replace(options, low_memory=True), (why,)


def _open(path: Path, options: LoadOptions, blocks: int, gpu: int | None) -> LlamaModel:
    on_gpu = blocks != 0 and bool(device.gpus())
    params = llama_cpp.llama_model_default_params()
    params.n_gpu_layers = blocks
    if options.low_memory:
        _map_weights(params)
    if options.device == "cpu" or gpu is not None:
        params.split_mode = llama_cpp.LLAMA_SPLIT_MODE_NONE
        params.main_gpu = -1 if gpu is None else gpu  # -1 keeps every GPU out of it
    going = [True]  # until Ctrl-C clears it
    progress = llama_cpp.llama_progress_callback(lambda _share, _user: bool(going))
    params.progress_callback = progress
    library.forget_errors()
    pointer = None
    try:
        with Interruptible(going.clear):
            pointer = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    except KeyboardInterrupt:
        if pointer:
            llama_cpp.llama_model_free(pointer)
        raise
    if not pointer:
        raise _why_not(path)
    threads = options.threads or device.threads()
    return LlamaModel(pointer, threads=threads, gpu=on_gpu, low_memory=options.low_memory)


def _long_factors(model: LlamaModel, path: Path) -> bool:
    """Whether the file holds RoPE factors for long rows. llama.cpp goes by the tensors: the converter of Phi-3 and
    Phi-4 does not name the kind of scaling."""
    scaled = model.number("rope.scaling.original_context_length") is not None
    return scaled and "rope_factors_long.weight" in read_model(path).tensors


def _map_weights(params: llama_cpp.llama_model_params) -> None:
    """Compute from the mapped file, rather than from copies in a layout for the kernels."""
    if hasattr(params, "use_extra_bufts"):
        params.use_extra_bufts = False
    if hasattr(params, "load_mode"):
        params.load_mode = llama_cpp.LLAMA_LOAD_MODE_MMAP
    else:  # llama-cpp-python before 2026
        params.use_mmap = True


def _why_not(path: Path) -> LocalprobeError:
    """The error for a file that llama.cpp did not load, from its log."""
    lines = library.errors()
    reason = next((line for line in lines if "failed to load model" not in line), "llama.cpp gave no reason")
    reason = reason.removeprefix("error loading model: ").rstrip(".")
    text = " ".join(lines).lower()
    if "failed to open" in text:
        return ModelError(f"{path.name} cannot be opened: {reason}")
    if any(sign in text for sign in _NO_MEMORY):
        return OutOfMemory(f"{path.name} does not fit into memory: {reason}; use a smaller quantisation")
    if any(sign in text for sign in _UNSUPPORTED):
        return UnsupportedModel(
            f"this llama.cpp cannot run {path.name}: {reason}; try pip install --upgrade llama-cpp-python"
        )
    return CorruptFile(f"{path.name} cannot be loaded: {reason}; delete it and fetch it again")


def _refuse_unreadable(model: LlamaModel, path: Path) -> None:
    if not llama_cpp.llama_model_has_decoder(model.pointer) or llama_cpp.llama_model_has_encoder(model.pointer):
        raise UnsupportedModel(f"{path.name} ({model.architecture}) is not a decoder: it cannot continue a text")
    if llama_cpp.llama_model_is_diffusion(model.pointer):
        raise UnsupportedModel(f"{path.name} ({model.architecture}) is a diffusion model: no token follows another")
    kind = llama_cpp.llama_vocab_type(llama_cpp.llama_model_get_vocab(model.pointer))
    if model.vocabulary.size == 0 or kind == llama_cpp.LLAMA_VOCAB_TYPE_NONE:
        raise UnsupportedModel(f"{path.name} has no tokenizer: convert it again with its vocabulary")


def _probe(model: LlamaModel, pool: Pool) -> None:
    """Read every layer's residual once, and check that a control vector has the effect of an addition.

    Raises UnsupportedModel if a layer cannot be read. If control vectors have no effect, all steering goes through the
    callback, which works for every residual that can be read.
    """
    context = pool.take(Need(1, 1, 1, 1))
    token, here, seen = np.zeros(1, np.int32), np.zeros(1, np.int32), np.ones(1, np.bool_)

    def residuals(stop: int) -> dict[int, FloatArray]:
        found: dict[int, FloatArray] = {}

        def keep(layer: int) -> Reader:
            return lambda residual: found.update({layer: residual[0].copy()})

        work = Work(readers={layer: keep(layer) for layer in range(stop + 1)}, stop=stop)
        context.decode(token, here, here, seen, work)
        context.clear()
        return found

    try:
        plain = residuals(model.layers - 1)
        if model.layers > 1:
            delta = np.full(model.width, np.abs(plain[1]).max() + 1, np.float32)
            context.control({1: delta})
            model.controls = np.array_equal(residuals(1)[1], plain[1] + delta)
            context.control({})
    finally:
        pool.give(context)


def _info(model: LlamaModel, weights: Weights, options: LoadOptions, notes: tuple[str, ...]) -> Info:
    if options.context is not None and options.context > model.context:
        raise UsageError(f"{weights.name} holds at most {model.context} tokens, not {options.context}")
    if not device.gpus() and options.device != "cpu":
        notes = (*device.no_gpu_notes(), *notes)
    if options.gpu_layers and not model.gpu:
        asked = f"{options.gpu_layers} GPU layers were asked for, but this build of llama.cpp has no GPU support"
        notes = (f"{asked}: everything runs on the CPU", *notes)
    # what makes residuals differ: low memory has other kernels; earlier versions left out the other two
    details = {
        "low memory": model.low_memory,
        "long RoPE by row": model.short_context is not None,
        "YaRN as in the file": bool(model.yarn),
    }
    return Info(
        engine="llama",
        version=", ".join([library.version(), *(name for name, used in details.items() if used)]),
        model=weights.name,
        architecture=model.architecture,
        layers=model.layers,
        width=model.width,
        vocabulary=model.vocabulary.size,
        context=options.context or model.context,
        device=device.describe(options) if model.gpu else "cpu",
        dtype="float32",
        weights=weights.fingerprint,
        quantisation=_quantisation(model),
        chat_template=model.text("tokenizer.chat_template"),
        special_text=model.vocabulary.special_text,
        marks=model.vocabulary.marks,
        template_args=options.template_args,
        bos=model.vocabulary.bos,
        eos=model.vocabulary.eos,
        capabilities=Capabilities(operators=OPERATORS, join=True, top=True),
        notes=notes,
        threads=None if model.gpu else model.threads,
        rope_length=model.short_context,
    )


def _quantisation(model: LlamaModel) -> str | None:
    """`Q4_K_M`, ...; None for plain floats."""
    from gguf import LlamaFileType

    kind = model.text("general.file_type")
    if kind is None or not kind.isdecimal() or int(kind) not in LlamaFileType._value2member_map_:
        return None
    name = str(LlamaFileType(int(kind)).name).removeprefix("MOSTLY_")
    return None if name in {"ALL_F32", "F16", "BF16"} else name
