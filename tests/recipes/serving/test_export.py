"""What is exported gives what predict gives: every recipe, in TorchScript and in ONNX, with random weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import untrained
from traindx.cli.app import run
from traindx.errors import CaseError, InputError, UsageError
from traindx.recipes import registry
from traindx.recipes.concepts.explanation import explain
from traindx.recipes.concepts.module import module_from
from traindx.recipes.concepts.reading import for_network
from traindx.recipes.fusion import inference
from traindx.recipes.fusion.pairs import network as pairs
from traindx.recipes.kit import export as kit
from traindx.recipes.kit.diffusion import Process
from traindx.recipes.kit.unrolled import steps_of, unrolled
from traindx.recipes.xray2ct import contract as xray2ct_contract
from traindx.recipes.xray2ct.cascade import contract as cascade_contract
from traindx.recipes.xray2ct.cascade.evaluate import reconstruct
from traindx.recipes.xray2ct.hounsfield import HounsfieldWindow
from traindx.recipes.xray2ct.radiograph import to_network
from traindx.recipes.xray2ct.sampling import draw

FORMATS = ["torchscript", pytest.param("onnx", marks=pytest.mark.slow)]


def exported(recipe: str, checkpoint: Path, out: Path, to: str, *more: str):
    """Export by the command line; the program as a function of named arrays, and its sidecar."""
    if to == "onnx":
        pytest.importorskip("onnxruntime", reason="the extra serve is not installed")
        pytest.importorskip("onnxscript", reason="the extra serve is not installed")
    arguments = [f"--checkpoint={checkpoint}", f"--to={to}", f"--out={out}", *more]
    assert registry()[recipe].export(arguments) == 0
    (sidecar,) = out.glob("*.json")
    said = json.loads(sidecar.read_text())
    return called(out / said["program"], said), said


def called(path: Path, said: dict):
    """The program in its own runtime, without anything of traindx."""
    names = [one["name"] for one in said["inputs"]]
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path))
        assert [one.name for one in session.get_inputs()] == names
        assert [one.name for one in session.get_outputs()] == [one["name"] for one in said["outputs"]]

        def run_onnx(*given):
            return session.run(None, {name: np.asarray(x, np.float32) for name, x in zip(names, given, strict=True)})

        return run_onnx
    program = torch.jit.load(str(path))
    return lambda *given: [one.numpy() for one in program(*(torch.as_tensor(x, dtype=torch.float32) for x in given))]


def close(found, wanted, span: float) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=0, atol=1e-4 * span)


def shapes_are_as_said(said: dict, inputs, outputs) -> None:
    for described, array in zip([*said["inputs"], *said["outputs"]], [*inputs, *outputs], strict=True):
        assert list(np.shape(array))[1:] == described["shape"][1:], described["name"]
        assert len(described["axes"]) == np.ndim(array)


def integrals(count: int, seed: int = 5) -> list[torch.Tensor]:
    draw_of = torch.Generator().manual_seed(seed)
    return [3 * torch.rand((count, 1, *untrained.GEOMETRY.pixels), generator=draw_of) for _ in range(2)]


@pytest.mark.parametrize("to", FORMATS)
def test_xray2ct_draws_what_predict_draws_from_the_same_noise(to, tmp_path):
    path = untrained.xray2ct(tmp_path / "model.ckpt")
    program, said = exported("xray2ct", path, tmp_path / "out", to, "--sampling-steps=2")
    views = integrals(3)
    torch.manual_seed(7)
    noise = torch.randn(3, 1, *untrained.GEOMETRY.shape)
    (hu,) = program(*views, noise)
    shapes_are_as_said(said, [*views, noise], [hu])
    network = xray2ct_contract.network_from(xray2ct_contract.read(path))
    torch.manual_seed(7)
    batch = {"frontal": to_network(views[0]), "lateral": to_network(views[1])}
    drawn = draw(Process(sampling_steps=2), network, batch, untrained.GEOMETRY.shape)
    close(hu, HounsfieldWindow().decode(drawn.clamp(-1, 1)), 2000)
    assert hu.std() > 1
    assert said["facts"]["sampling"]["steps"] == 2
    assert said["facts"]["spacing_mm_DHW"] == [40.0, 36.0, 32.0]
    assert said["shapes"] == {"batch": "any", "others": "fixed"}


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize(("recipe", "method"), [("xray2ct_regression", "regression"), ("xray2ct_cascade", "diffusion")])
def test_cascades_reconstruct_what_predict_reconstructs(recipe, method, to, tmp_path):
    path = untrained.cascade(tmp_path / "model.ckpt", method)
    more = ["--sampling-steps=2"] if method == "diffusion" else []
    program, said = exported(recipe, path, tmp_path / "out", to, *more)
    views = integrals(2)
    torch.manual_seed(7)
    noises = [torch.randn(2, 1, size, size, size) for size in (4, 8)] if method == "diffusion" else []
    (hu,) = program(*views, *noises)
    shapes_are_as_said(said, [*views, *noises], [hu])
    made, plan = cascade_contract.cascade_from(cascade_contract.read(path), 2)
    torch.manual_seed(7)
    wanted = reconstruct(made, plan, {"frontal": to_network(views[0]), "lateral": to_network(views[1])})
    close(hu, wanted, 2000)
    assert hu.std() > 1


def test_one_view_alone_is_one_input(tmp_path):
    path = untrained.cascade(tmp_path / "model.ckpt", "regression", views=("lateral",))
    _, said = exported("xray2ct_regression", path, tmp_path / "out", "torchscript")
    assert [one["name"] for one in said["inputs"]] == ["lateral"]
    assert "anterior to posterior" in said["inputs"][0]["meaning"]


@pytest.mark.parametrize("to", ["torchscript", "onnx"])
@pytest.mark.parametrize("pixels", [(48, 60), (70, 50), (32, 32), (128, 128), (20, 40)])
def test_concepts_of_raw_grey_values(to, pixels, tmp_path):
    if to == "onnx" and pixels != (70, 50):
        pytest.skip("one size is enough for ONNX: the others are the same operators")
    path = untrained.concepts(tmp_path / "model.ckpt")
    program, said = exported("concepts", path, tmp_path / "out", to, "--pixels", *map(str, pixels))
    image = np.random.default_rng(3).gamma(2.0, 300.0, (2, 1, *pixels)).astype(np.float32)  # a long tail is clipped
    found = program(image)
    shapes_are_as_said(said, [image], found)
    module, learnt = module_from(path)
    for index, one in enumerate(image):
        wanted = explain(module.network, for_network(one[0], 32)[1], learnt)
        close(found[0][index], wanted.probabilities, 1)
        close(found[1][index], wanted.maps, 1)
        close(found[2][index].max(axis=1), [look.similarity for look in wanted.looks], 2)
        close(found[3][index], wanted.task, 1)
    assert said["facts"]["thresholds"] == pytest.approx([0.4, 0.5, 0.6])


def test_what_was_not_trained_is_not_exported(tmp_path):
    path = untrained.concepts(tmp_path / "model.ckpt", trained=("concepts",))
    _, said = exported("concepts", path, tmp_path / "out", "torchscript")
    assert [one["name"] for one in said["outputs"]] == ["concepts", "maps"]


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("preset", ["joint", "zscore"])
def test_fusion_of_ct_and_mr_fuses_as_predict(preset, to, tmp_path):
    if to == "onnx" and preset == "zscore":
        pytest.skip("one preset is enough for ONNX: the other is one division")
    path = untrained.fusion(tmp_path / "model.ckpt", preset=preset)
    options = ["--size", "16", "24", "--sampling-steps=2"]
    program, said = exported("fusion", path, tmp_path / "out", to, *options)
    draw_of = torch.Generator().manual_seed(1)
    hu = 1500 * torch.rand(2, 1, 16, 24, generator=draw_of) - 1000
    mr = 600 * torch.rand(2, 1, 16, 24, generator=draw_of)
    statistics = [torch.tensor([310.0, 310.0]), torch.tensor([140.0, 140.0])]
    reference = torch.tensor([580.0, 580.0])
    torch.manual_seed(3)
    noise = torch.randn(2, 1, 16, 24)
    given = [hu, mr, *(statistics if preset == "zscore" else [reference]), noise]
    (fused,) = program(*given)
    shapes_are_as_said(said, given, [fused])
    model = inference.load(path, sampling_steps=2)
    batch = {"ct": model.seen_as.ct(hu), "mr": model.seen_as.mr(mr, 580.0, 310.0, 140.0)}
    torch.manual_seed(3)
    close(fused, ((model.fuse(batch) + 1) / 2).clamp(0, 1), 1)


@pytest.mark.parametrize("to", FORMATS)
def test_fusion_of_pairs_fuses_as_predict(to, tmp_path):
    path = untrained.fusion_pairs(tmp_path / "model.ckpt")
    program, _ = exported("fusion", path, tmp_path / "out", to, "--size", "18", "21")
    a, b = torch.rand(2, 3, 1, 18, 21, generator=torch.Generator().manual_seed(2)).unbind(0)
    close(program(a, b)[0], pairs.fuser(pairs.read(path))(a, b), 1)


def test_the_unrolled_sampler_steps_as_diffusers_does():
    for prediction in ("v", "sample"):
        process = Process(prediction, sampling_steps=4)
        noise = torch.randn(2, 1, 3, 3, generator=torch.Generator().manual_seed(0))
        table = process.alphas_cumprod

        def network(x, alpha_bar):
            return torch.tanh(x) * (1.2 - alpha_bar.view(-1, 1, 1, 1))  # anything that depends on both

        wanted = process.draw(lambda x, t, table=table: network(x, table[t]), noise)
        found = unrolled(steps_of(process), prediction, lambda x, _, alpha_bar: network(x, alpha_bar), noise)
        torch.testing.assert_close(found, wanted, rtol=0, atol=2e-6)


def test_a_program_that_does_not_agree_is_refused_and_nothing_is_written(tmp_path, monkeypatch):
    path = untrained.fusion_pairs(tmp_path / "model.ckpt")
    monkeypatch.setattr(kit, "TOLERANCE", -1.0)
    with pytest.raises(CaseError, match="nothing was written"):
        registry()["fusion"].export([f"--checkpoint={path}", "--to=torchscript", f"--out={tmp_path / 'out'}"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("recipe", ["xray2ct", "xray2ct_regression", "xray2ct_cascade", "concepts", "fusion"])
def test_only_segmentation_is_a_bundle_and_the_reason_comes_before_anything_is_read(recipe, capsys):
    assert run(["export", recipe, "--checkpoint", "there/is/none.ckpt", "--to", "monai-bundle"]) == 2
    said = capsys.readouterr().err
    assert "no parts of MONAI" in said
    assert "none.ckpt" not in said


def test_what_cannot_be_exported_is_said(tmp_path, capsys, monkeypatch):
    with pytest.raises(InputError, match="does not exist"):
        registry()["concepts"].export(["--checkpoint=nowhere.ckpt", "--to=torchscript"])
    path = untrained.fusion(tmp_path / "model.ckpt", dims=3)
    with pytest.raises(UsageError, match="--size is not given"):
        registry()["fusion"].export([f"--checkpoint={path}", "--to=torchscript"])
    path = untrained.fusion(tmp_path / "flat.ckpt")
    with pytest.raises(UsageError, match="--size 30 32") as refused:
        registry()["fusion"].export([f"--checkpoint={path}", "--to=torchscript", "--size", "30", "32"])
    assert "multiple of 4" in str(refused.value)
    import traindx.extras

    monkeypatch.setattr(traindx.extras, "find_spec", lambda name: None if name.startswith("onnx") else object())
    assert run(["export", "fusion", "--checkpoint", str(path), "--to", "onnx"]) == 2
    assert "pip install 'traindx[serve]'" in capsys.readouterr().err


def test_the_sidecar_holds_nothing_of_patients_or_places(tmp_path):
    _, said = exported("fusion", untrained.fusion_pairs(tmp_path / "model.ckpt"), tmp_path / "out", "torchscript")
    assert str(tmp_path) not in json.dumps(said)
    assert said["checkpoints"][0]["name"] == "model.ckpt"
    assert len(said["checkpoints"][0]["sha256"]) == 64
    assert said["agreement"]["largest_difference_of_span"] <= said["agreement"]["tolerance"] == 1e-4
