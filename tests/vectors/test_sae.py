"""Features of sparse autoencoders as vectors."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from localprobe.engine import FloatArray
from localprobe.errors import LocalprobeError, UsageError, VectorError
from localprobe.vectors import files as vector_files
from localprobe.vectors.sae import feature
from localprobe.vectors.vector import Vector

WIDTH, FEATURES = 6, 9


def tensors(*names: str) -> dict[str, FloatArray]:
    random = np.random.default_rng(0)
    shapes = {"W_enc": (WIDTH, FEATURES), "W_dec": (FEATURES, WIDTH), "b_dec": (WIDTH,)}
    shapes |= dict.fromkeys(names, (FEATURES,))
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


NEW = {
    "d_in": WIDTH,
    "d_sae": FEATURES,
    "architecture": "standard",
    "apply_b_dec_to_input": True,
    "normalize_activations": "none",
    "metadata": {"hook_name": "blocks.8.hook_resid_post", "model_name": "gpt2-small", "prepend_bos": True},
}
"""As SAELens 6 writes it."""
OLD = {"d_in": WIDTH, "d_sae": FEATURES, "hook_point": "blocks.9.hook_resid_pre", "hook_point_layer": 9}
"""As its first versions did."""


def folder(path: Path, config: dict[str, Any], held: dict[str, FloatArray]) -> Path:
    path.mkdir(exist_ok=True)
    (path / "cfg.json").write_text(json.dumps(config))
    save_file(held, path / "sae_weights.safetensors")
    return path


def pre(held: dict[str, FloatArray], x: FloatArray, index: int, *, centred: bool = True) -> float:
    """x @ w of the encoder, the input less b_dec if `centred`."""
    return float((x - (held["b_dec"] if centred else 0)) @ held["W_enc"][:, index])


def at_the_border(vector: Vector) -> FloatArray:
    """A residual whose score is the vector's threshold."""
    (direction,) = vector.directions.values()
    return direction.unit * np.float32(direction.threshold)


def test_the_decoder_steers_and_the_encoder_reads(tmp_path: Path) -> None:
    held = tensors("b_enc")
    vector = feature(folder(tmp_path, NEW, held), 4)
    direction = vector.directions[8]
    row, reads = held["W_dec"][4], held["W_enc"][:, 4]
    np.testing.assert_allclose(direction.vector, row / np.linalg.norm(row), rtol=1e-6)
    assert direction.norm == pytest.approx(float(np.linalg.norm(row)))
    assert direction.probe is not None
    np.testing.assert_array_equal(direction.probe, reads)
    np.testing.assert_allclose(direction.unit, reads / np.linalg.norm(reads), rtol=1e-6)
    assert (vector.concept, vector.best, vector.notices) == ("feature 4", 8, ())
    assert (vector.origin.model, vector.origin.width, vector.origin.bos) == ("gpt2-small", WIDTH, True)
    assert vector.origin.version  # where it was measured is settled


@pytest.mark.parametrize("centred", [True, False])
def test_a_standard_feature_is_active_above_its_threshold(tmp_path: Path, centred: bool) -> None:
    held = tensors("b_enc")
    vector = feature(folder(tmp_path, NEW | {"apply_b_dec_to_input": centred}, held), 4)
    assert pre(held, at_the_border(vector), 4, centred=centred) + held["b_enc"][4] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("name", ["jumprelu", "jump_relu"])
def test_a_jumprelu_feature_is_active_above_its_threshold(tmp_path: Path, name: str) -> None:
    held = tensors("b_enc", "threshold")
    vector = feature(folder(tmp_path, NEW | {"architecture": name}, held), 4)
    reached = pre(held, at_the_border(vector), 4) + held["b_enc"][4]
    assert reached == pytest.approx(float(held["threshold"][4]), abs=1e-5)


@pytest.mark.parametrize("index", range(FEATURES))
def test_a_gated_feature_is_active_where_gate_and_magnitude_are(tmp_path: Path, index: int) -> None:
    held = tensors("b_gate", "r_mag", "b_mag")
    vector = feature(folder(tmp_path, NEW | {"architecture": "gated"}, held), index)
    reached = pre(held, at_the_border(vector), index)
    gate, magnitude = reached + held["b_gate"][index], np.exp(held["r_mag"][index]) * reached + held["b_mag"][index]
    assert min(gate, magnitude) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"architecture": "topk"}, "the k strongest features are active"),
        ({"activation_fn_str": "topk"}, "the k strongest features are active"),
        ({"architecture": "matryoshka_batchtopk"}, "the k strongest features are active"),
        ({"normalize_activations": "expected_average_only_in"}, "a number that the file does not hold"),
        ({"normalize_activations": True}, "a number that the file does not hold"),
        ({"normalize_activations": "constant_norm_rescale"}, "normalize_activations constant_norm_rescale"),
        ({"activation_fn": "identity"}, "the activation 'identity' has no known threshold"),
    ],
)
def test_an_unknown_threshold_is_told_and_the_rest_holds(tmp_path: Path, config: dict[str, Any], why: str) -> None:
    held = tensors("b_enc")
    vector = feature(folder(tmp_path, NEW | config, held), 4)
    (notice,) = vector.notices
    assert why in notice
    assert "the score at which the feature is active is not known" in notice
    direction = vector.directions[8]
    assert direction.threshold == 0
    np.testing.assert_array_equal(direction.probe, held["W_enc"][:, 4])


def test_a_layer_norm_before_the_encoder_is_part_of_the_probe(tmp_path: Path) -> None:
    held = tensors("b_enc")
    direction = feature(folder(tmp_path, NEW | {"normalize_activations": "layer_norm"}, held), 4).directions[8]
    x = np.random.default_rng(5).standard_normal(WIDTH)
    assert direction.probe is not None
    assert float(x @ direction.probe) == pytest.approx(float((x - x.mean()) @ held["W_enc"][:, 4]), abs=1e-5)


@pytest.mark.parametrize(
    ("hook", "layer"),
    [
        ("blocks.8.hook_resid_post", 8),
        ("blocks.9.hook_resid_pre", 8),
        ("blocks.0.hook_resid_post", 0),
        ("model.layers.12.output", 12),
        ("model.layers.12", 12),
        ("transformer.h.3", 3),
    ],
)
def test_the_place_is_a_layer(tmp_path: Path, hook: str, layer: int) -> None:
    assert list(feature(folder(tmp_path, NEW | {"hook_name": hook}, tensors("b_enc")), 0).directions) == [layer]


def test_an_old_configuration_is_read(tmp_path: Path) -> None:
    held = tensors("b_enc")
    vector = feature(folder(tmp_path, OLD, held), 0)
    assert (vector.best, vector.origin.model) == (8, "")
    assert pre(held, at_the_border(vector), 0) + held["b_enc"][0] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"hook_name": "blocks.0.hook_resid_pre"}, "trained at blocks.0.hook_resid_pre, the embedding"),
        ({"hook_name": "hook_embed"}, "trained at 'hook_embed'"),
        ({"hook_name": "blocks.8.hook_mlp_out"}, "trained at 'blocks.8.hook_mlp_out'"),
        ({"hook_name": "blocks.8.hook_attn_out"}, "trained at 'blocks.8.hook_attn_out'"),
        ({"hook_name": "blocks.8.attn.hook_z"}, "trained at 'blocks.8.attn.hook_z'"),
        ({"hook_name": "blocks.8.hook_resid_mid"}, "trained at 'blocks.8.hook_resid_mid'"),
        ({"hook_name": "model.layers.5.mlp"}, "trained at 'model.layers.5.mlp'"),
        ({"hook_name": ["blocks.8.hook_resid_post"]}, "trained at"),
        ({"hook_head_index": 3}, "trained on head 3 of 'blocks.8.hook_resid_post'"),
        (
            {"hook_name": "blocks.8.ln2.hook_normalized", "hook_name_out": "blocks.8.hook_mlp_out"},
            "it maps 'blocks.8.ln2.hook_normalized' to 'blocks.8.hook_mlp_out'",
        ),
        ({"architecture": "skip_transcoder"}, "a transcoder"),
        ({"metadata": {}}, "does not say where it was trained"),
        ({"architecture": "temporal"}, "architecture 'temporal' is not one of standard, jumprelu, gated, topk"),
        ({"architecture": "jumprelu"}, "lacks threshold of a jumprelu autoencoder"),
        ({"d_in": 7}, "width 6, and its configuration says d_in 7"),
    ],
)
def test_another_place_or_kind_is_refused_by_name(tmp_path: Path, config: dict[str, Any], complaint: str) -> None:
    with pytest.raises(VectorError) as error:
        feature(folder(tmp_path, NEW | config, tensors("b_enc")), 0)
    assert complaint in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_gemma_scope_2_is_read(tmp_path: Path) -> None:
    held = tensors("b_enc", "threshold")
    renamed = {name.replace("W_", "w_"): tensor for name, tensor in held.items()}
    save_file(renamed, tmp_path / "params.safetensors")
    config = {
        "hf_hook_point_in": "model.layers.12.output",
        "hf_hook_point_out": "model.layers.12.output",
        "model_name": "google/gemma-3-1b-pt",
        "architecture": "jump_relu",
        "type": "sae",
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    vector = feature(tmp_path, 2)
    assert (vector.best, vector.origin.model) == (12, "google/gemma-3-1b-pt")
    reached = pre(held, at_the_border(vector), 2, centred=False) + held["b_enc"][2]
    assert reached == pytest.approx(float(held["threshold"][2]), abs=1e-5)
    (tmp_path / "config.json").write_text(json.dumps(config | {"hf_hook_point_out": "model.layers.12.mlp.output"}))
    with pytest.raises(VectorError, match=r"it maps 'model.layers.12.output' to 'model.layers.12.mlp.output'"):
        feature(tmp_path, 2)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("order", ["C", "F"])
def test_gemma_scopes_npz_is_read_at_a_layer(tmp_path: Path, compressed: bool, order: Any) -> None:
    held = tensors("b_enc", "threshold")
    write = np.savez_compressed if compressed else np.savez
    write(tmp_path / "params.npz", **{name: np.asarray(tensor, order=order) for name, tensor in held.items()})
    for path in (tmp_path, tmp_path / "params.npz"):
        vector = feature(path, 3, layer=20)
        direction = vector.directions[20]
        assert direction.probe is not None
        np.testing.assert_array_equal(direction.probe, held["W_enc"][:, 3])
        np.testing.assert_allclose(direction.vector * direction.norm, held["W_dec"][3], rtol=1e-6)
        reached = pre(held, at_the_border(vector), 3, centred=False) + held["b_enc"][3]
        assert reached == pytest.approx(float(held["threshold"][3]), abs=1e-5)


def test_a_column_of_many_pieces_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localprobe.vectors.sae_weights._CHUNK", FEATURES * 4 * 2)
    held = tensors("b_enc", "threshold")
    np.savez(tmp_path / "p.npz", **held)
    np.testing.assert_array_equal(feature(tmp_path / "p.npz", 8, layer=1).directions[1].probe, held["W_enc"][:, 8])


def test_16_bit_weights_are_read(tmp_path: Path) -> None:
    held = {name: tensor.astype(np.float16) for name, tensor in tensors("b_enc").items()}
    direction = feature(folder(tmp_path, NEW, held), 4).directions[8]  # type: ignore[arg-type]
    np.testing.assert_array_equal(direction.probe, held["W_enc"][:, 4].astype(np.float32))


def test_bfloat16_weights_are_read(tmp_path: Path) -> None:
    """A bfloat16 is the upper half of a float32."""
    halves = {name: (tensor.view(np.uint32) >> 16).astype(np.uint16) for name, tensor in tensors("b_enc").items()}
    path = folder(tmp_path, NEW, halves) / "sae_weights.safetensors"  # type: ignore[arg-type]
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = data[8:end].replace(b'"U16"', b'"BF16"')
    path.write_bytes(len(header).to_bytes(8, "little") + header + data[end:])
    expected = (halves["W_enc"][:, 4].astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(feature(tmp_path, 4).directions[8].probe, expected)


def test_a_bare_file_without_thresholds_leaves_them_open(tmp_path: Path) -> None:
    save_file(tensors("b_enc"), tmp_path / "mine.safetensors")
    with pytest.raises(UsageError, match=r"has no cfg.json beside it that says where it was trained: give its `layer`"):
        feature(tmp_path / "mine.safetensors", 0)
    vector = feature(tmp_path / "mine.safetensors", 0, layer=5)
    assert vector.directions[5].threshold == 0
    assert "does not say whether b_dec is taken off the input" in vector.notices[0]


def test_what_the_user_gets_wrong_is_told(tmp_path: Path) -> None:
    path = folder(tmp_path / "sae", NEW, tensors("b_enc"))
    with pytest.raises(UsageError, match=r"`feature` 9 is out of range: .* has features 0 to 8"):
        feature(path, 9)
    with pytest.raises(UsageError, match=r"says layer 8, not 7: give no `layer`"):
        feature(path, 0, layer=7)
    with pytest.raises(VectorError, match="no file at"):
        feature(tmp_path / "none", 0)
    with pytest.raises(VectorError, match=r"holds none of params.npz"):
        feature(tmp_path, 0)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "weights", "w") as archive:
        archive.writestr("archive/data.pkl", b"cos\nsystem\n")
    (tmp_path / "sae.pt").write_bytes(b"\x80\x02")
    for path in (tmp_path / "sae.pt", tmp_path / "weights"):
        with pytest.raises(VectorError, match="is pickled, and loading that can run any code"):
            feature(path, 0, layer=1)
    with pytest.raises(VectorError, match="only pickled weights"):
        feature(tmp_path, 0)
    objects = tensors("b_enc", "threshold") | {"b_dec": np.array([{}] * WIDTH, dtype=object)}
    np.savez(tmp_path / "o.npz", **objects)  # type: ignore[arg-type]
    with pytest.raises(VectorError, match="holds Python objects"):
        feature(tmp_path / "o.npz", 0, layer=1)


@pytest.mark.parametrize("keep", [0, 7, 60, 300])
@pytest.mark.parametrize("name", ["p.npz", "p.safetensors"])
def test_a_torn_file_is_one_clear_error(tmp_path: Path, name: str, keep: int) -> None:
    path, held = tmp_path / name, tensors("b_enc", "threshold")
    np.savez(path, **held) if name.endswith("npz") else save_file(held, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(LocalprobeError) as error:
        feature(path, 0, layer=1)
    assert len(str(error.value).splitlines()) == 1
    assert name in str(error.value)


def test_shapes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    held = tensors("b_enc")
    for wrong, complaint in (
        ({"W_enc": held["W_dec"]}, "are not of one autoencoder"),
        ({"b_dec": held["b_enc"]}, r"b_dec has the shape \(9,\), not \(6,\)"),
        ({"b_enc": held["b_dec"]}, r"b_enc has the shape \(6,\), not \(9,\)"),
    ):
        with pytest.raises(VectorError, match=complaint):
            feature(folder(tmp_path, NEW, held | wrong), 0)


def test_a_dead_feature_is_no_direction(tmp_path: Path) -> None:
    held = tensors("b_enc")
    held["W_enc"][:, 4] = 0
    with pytest.raises(VectorError, match="the probe at layer 8 is zero"):
        feature(folder(tmp_path, NEW, held), 4)


def test_it_survives_its_file(tmp_path: Path) -> None:
    vector = feature(folder(tmp_path, NEW, tensors("b_enc")), 4)
    for name in ("v.safetensors", "v.npz"):
        vector_files.export(vector, tmp_path / name)
        again = vector_files.load(tmp_path / name)
        one, other = again.directions[8], vector.directions[8]
        np.testing.assert_array_equal(one.probe, other.probe)
        assert (one.threshold, one.norm, again.origin) == (other.threshold, other.norm, vector.origin)
