"""Loading a folder of safetensors into an engine, with one-line errors."""

from __future__ import annotations

import torch

from localprobe.checks import only_captured
from localprobe.engine import OPERATORS, Capabilities, Info, LoadOptions, Weights
from localprobe.errors import UsageError
from localprobe.models.checkpoint import check_folder
from localprobe.models.tokens import end_ids
from localprobe_torch.blocks import KNOWN, find_blocks
from localprobe_torch.config import context_of, read_config, rope_length
from localprobe_torch.device import choose_device, choose_dtype, dtype_name
from localprobe_torch.engine import TorchEngine
from localprobe_torch.linear import use_onednn
from localprobe_torch.memory import out_of_memory
from localprobe_torch.network import Network
from localprobe_torch.proof import prove
from localprobe_torch.quantise import quantisation
from localprobe_torch.quiet import quiet
from localprobe_torch.tokens import load_vocabulary
from localprobe_torch.versions import versions
from localprobe_torch.weights import Placement, load_model


def load_engine(weights: Weights, options: LoadOptions) -> TorchEngine:
    """Load a model; see `TorchBackend.load`. Cheap checks come first, the weights last."""
    _check(options)
    folder = weights.path
    check_folder(folder)
    device = choose_device(options.device)
    with quiet(), out_of_memory(f"{weights.name} does not fit into memory: choose a smaller model or dtype"):
        config = read_config(folder, options.trust_remote_code)
        text = config.get_text_config(decoder=True)
        dtype = choose_dtype(options.dtype, config.dtype, device, config.model_type)
        vocabulary = load_vocabulary(folder, options.trust_remote_code)
        context = context_of(text, vocabulary.longest, options.context)
        placement = Placement(device, dtype, spread=options.device == "auto", quantise=options.quantise)
        model = load_model(folder, config, placement, options.trust_remote_code)
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        onednn = use_onednn(model)
        network = Network(model, find_blocks(model), context, rope_length(text))
        no_decoding = ""
        if config.model_type not in KNOWN:
            text_ids = vocabulary.encode("What holds for other models is shown for this one, not assumed.")
            no_decoding = prove(network, model, text_ids)
    quantised = quantisation(config, options.quantise)
    info = Info(
        engine="torch",
        version=", ".join([versions(quantised), *_ways(dtype, onednn, network.rope_length is not None)]),
        model=weights.name,
        architecture=config.model_type,
        layers=network.layers,
        width=network.width,
        vocabulary=network.vocabulary,
        context=context,
        device=", ".join(sorted({str(device) for device in network.devices})),
        dtype=dtype_name(dtype),
        weights=weights.fingerprint,
        quantisation=quantised,
        chat_template=vocabulary.chat_template,
        special_text=vocabulary.special_text,
        marks=vocabulary.marks,
        template_args=options.template_args,
        bos=vocabulary.bos,
        eos=tuple(sorted(vocabulary.eos | end_ids(getattr(model, "generation_config", None), model.config, text))),
        threads=torch.get_num_threads() if network.device.type == "cpu" else None,
        capabilities=Capabilities(operators=OPERATORS, join=True, top=True, no_decoding=no_decoding),
        notes=(only_captured("this model", no_decoding),) if no_decoding else (),
        rope_length=network.rope_length,
    )
    return TorchEngine(info, network, vocabulary)


def _ways(dtype: torch.dtype, onednn: bool, long_rope: bool) -> list[str]:
    """What makes residuals differ: the library of linear layers; rows kept apart by long RoPE's length, which 0.1.0 did
    not do; and a lower precision of float32 products (TF32, bfloat16), which a program may have asked for."""
    try:
        precision = torch.get_float32_matmul_precision()
    except RuntimeError:  # set for single libraries (torch.backends.cuda.matmul.fp32_precision)
        precision = "other"
    ways = {
        "oneDNN": onednn,
        "long RoPE by row": long_rope,
        f"{precision} precision": dtype == torch.float32 and precision != "highest",
    }
    return [name for name, used in ways.items() if used]


def _check(options: LoadOptions) -> None:
    if options.gpu_layers is not None:
        raise UsageError(
            f"gpu_layers={options.gpu_layers} is an option of the llama engine: with torch, device auto shares a model "
            "among cards and memory"
        )
    if options.low_memory:
        raise UsageError(
            "low_memory is an option of the llama engine: with torch, choose dtype bfloat16, or a quantised GGUF with "
            "`engine` llama"
        )
    if options.threads is not None and options.threads < 1:
        raise UsageError(f"threads={options.threads} is out of range: give at least 1")
