"""``traindx export``: programs as TorchScript or ONNX, each compared with PyTorch, with a sidecar that says all else.

Nothing is written that does not agree: the file is read back by the runtime it is for, run on inputs that it was not
made with, and refused where an output differs by more than :data:`TOLERANCE` of its span.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from traindx.errors import CaseError, UsageError
from traindx.extras import require
from traindx.recipes.kit.program import Program
from traindx.version import __version__

TOLERANCE = 1e-4
"""Largest difference from PyTorch as a share of an output's span. Another order of summation in float32 leaves some
1e-7 (the untrained networks of the tests: 1e-6 at most); 1e-4 of 2000 HU is 0.2 HU, below what is rounded away."""

OPSET = 20
"""Opset of ONNX: the first with sampling at positions in grids of any rank; onnxruntime reads it since 1.17."""

FILES = {"torchscript": "model.ts", "onnx": "model.onnx"}
BUNDLE = "monai-bundle"
FORMATS = (*FILES, BUNDLE)


def parser(recipe: str, description: str, example: str = "") -> argparse.ArgumentParser:
    """The parser of ``traindx export RECIPE`` with the options that every recipe has.

    Args:
        recipe: Name of the recipe.
        description: What is in the program and what is not.
        example: Arguments that are added to the example.
    """
    made = argparse.ArgumentParser(
        prog=f"traindx export {recipe}",
        description=f"{description} Beside the program lies a JSON file of the same name that says what it expects and "
        "gives: units, ranges, axes, spacing, and what is left to the caller. An export that differs from PyTorch by "
        f"more than {TOLERANCE:g} of an output's span is refused. Exit code 0: written; 2: cannot be exported; "
        "3: the exported program does not agree.",
        epilog=f"Example: traindx export {recipe} --checkpoint runs/{recipe} --to onnx {example}".rstrip(),
        allow_abbrev=False,
    )
    made.add_argument("--to", choices=FORMATS, required=True, help="what is written")
    made.add_argument("--out", type=Path, default=Path("exported"), help="folder for it (default: exported)")
    return made


def check_possible(options: argparse.Namespace, recipe: str, *, bundle: bool = False) -> None:
    """Refuse what cannot be, before anything is read.

    Raises:
        UsageError: A recipe has no bundle.
        MissingExtraError: The extra ``serve`` is not installed.
    """
    if options.to == BUNDLE and not bundle:
        raise UsageError(
            f"{recipe} cannot be a MONAI bundle: its network and its steps are no parts of MONAI, and a bundle of "
            "our own code would run nowhere else",
            expected="--to torchscript or --to onnx; a bundle is of the recipe segmentation",
        )
    if options.to == "onnx":
        require("serve", "an export to ONNX")


def write(program: Program, options: argparse.Namespace, checkpoints: Sequence[Path]) -> int:
    """Write a program in the format that was asked for, and its sidecar, and say how well both agree.

    Raises:
        CaseError: The exported program does not agree with PyTorch, or cannot be made.
    """
    program.module.eval()
    for parameter in program.module.parameters():
        parameter.requires_grad_(False)
    data, run, batch, runtime = _MAKERS[options.to](program)
    worst = _compared(program, run, batch)
    if not worst <= TOLERANCE:
        raise CaseError(
            f"the exported program differs from PyTorch by {worst:.2g} of the span of its outputs",
            expected=f"{TOLERANCE:g} or less",
            do="nothing was written; look whether the network gives finite values at all: traindx predict",
        )
    options.out.mkdir(parents=True, exist_ok=True)
    path: Path = options.out / FILES[options.to]
    sidecar = path.with_name(f"{path.name}.json")
    agreement: dict[str, Any] = {
        "compared_with": f"the same program in PyTorch {torch.__version__}",
        "runtime": runtime,
        "largest_difference_of_span": worst,
        "tolerance": TOLERANCE,
    }
    store_bytes(path, data)
    described = describe(program, options.to, path.name, batch, checkpoints, agreement)
    store_bytes(sidecar, (json.dumps(described, indent=1, ensure_ascii=False) + "\n").encode())
    shapes = "any batch, all other sizes fixed" if batch == "any" else "batch 1, all sizes fixed"
    print(f"wrote {path} ({len(data) / 1e6:.1f} MB; {shapes}) and {sidecar}")
    print(f"{runtime} differs from PyTorch by at most {worst:.1e} of the span of an output")
    for line in program.differs:
        print(f"note: {line}")
    return 0


def describe(
    program: Program, kind: str, name: str, batch: str, checkpoints: Sequence[Path], agreement: Mapping[str, Any]
) -> dict[str, Any]:
    """The sidecar in plain values. Nothing of the patients of the training is in it."""
    return {
        "traindx": __version__,
        "recipe": program.recipe,
        "format": kind,
        "program": name,
        "checkpoints": [
            {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for path in checkpoints
        ],
        "shapes": {"batch": batch, "others": "fixed"},
        "inputs": [port.described(batch) for port in program.inputs],
        "outputs": [port.described(batch) for port in program.outputs],
        "before": list(program.before),
        "after": list(program.after),
        "facts": dict(program.facts),
        "differs_from_predict": list(program.differs),
        "agreement": dict(agreement),
    }


def store_bytes(path: Path, data: bytes) -> None:
    """Write a file; it is complete or as it was before."""
    unfinished = path.with_name(f"{path.name}.tmp")
    unfinished.write_bytes(data)
    os.replace(unfinished, path)


Run = Callable[[Sequence[Tensor]], tuple[Tensor, ...]]


def _compared(program: Program, run: Run, batch: str) -> float:
    """Largest difference over inputs that the program was not made with."""
    found = []
    for seed, count in ((1, 1), (2, 1), (3, 2 if batch == "any" else 1)):
        inputs = program.example(count, seed)
        found.append(program.apart(run(inputs), program.run(inputs)))
    return max(found)


def _torchscript(program: Program) -> tuple[bytes, Run, str, str]:
    """Traced with one item, then tried with two: a size that became a constant shows there."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(program.module, program.example(1, 0), check_trace=False)  # type: ignore[no-untyped-call]
        buffer = io.BytesIO()
        torch.jit.save(traced, buffer)
    data = buffer.getvalue()
    loaded = torch.jit.load(io.BytesIO(data), map_location="cpu")  # type: ignore[no-untyped-call]

    def run(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        with torch.no_grad():
            outputs: tuple[Tensor, ...] = loaded(*inputs)
        return outputs

    two = program.example(2, 3)
    try:
        batch = "any" if program.apart(run(two), program.run(two)) <= TOLERANCE else "1"
    except RuntimeError:
        batch = "1"
    return data, run, batch, f"TorchScript of PyTorch {torch.__version__}"


def _onnx(program: Program) -> tuple[bytes, Run, str, str]:
    """Exported with a batch that is left open; where the exporter cannot keep it open, with one item."""
    import onnxruntime

    batch = "any"
    try:
        data = _onnx_bytes(program, 2, {0: torch.export.Dim("batch")})
    except Exception as error:  # torch.onnx wraps what any operator's translation may raise
        batch = "1"
        try:
            data = _onnx_bytes(program, 1, None)
        except Exception:
            first = str(error).strip().splitlines()
            raise CaseError(
                f"ONNX cannot express this network: {first[0] if first else type(error).__name__}",
                do="export it with --to torchscript",
            ) from error
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])

    def run(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        given = {port.name: value.numpy() for port, value in zip(program.inputs, inputs, strict=True)}
        return tuple(torch.from_numpy(value) for value in session.run(None, given))

    return data, run, batch, f"onnxruntime {onnxruntime.__version__}"


def _onnx_bytes(program: Program, count: int, sizes: Mapping[int, Any] | None) -> bytes:
    said = io.StringIO()
    with warnings.catch_warnings(), torch.no_grad(), redirect_stdout(said), redirect_stderr(said):
        warnings.simplefilter("ignore")
        made = torch.onnx.export(
            program.module,
            program.example(count, 0),
            input_names=[port.name for port in program.inputs],
            output_names=[port.name for port in program.outputs],
            dynamic_shapes=(tuple(dict(sizes) for _ in program.inputs),) if sizes is not None else None,
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert made is not None
    data: bytes = made.model_proto.SerializeToString()
    return data


_MAKERS: Mapping[str, Callable[[Program], tuple[bytes, Run, str, str]]] = {"torchscript": _torchscript, "onnx": _onnx}
