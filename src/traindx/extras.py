"""What is not part of the core, and the one sentence that says so where it is needed."""

from __future__ import annotations

from importlib.util import find_spec
from types import MappingProxyType

from traindx.errors import UsageError

MODULES = MappingProxyType(
    {
        "data": ("nibabel", "pydicom", "tifffile"),
        "recipes": (
            "lightning",
            "monai",
            "diffusers",
            "nanodrr",
            "torchmetrics",
            "jsonargparse",
            "matplotlib",
            "yaml",
            "nibabel",
            "pydicom",
            "tifffile",
        ),
        "serve": ("onnx", "onnxruntime", "onnxscript"),
        "dicom": ("highdicom",),
        "cluster": ("ray",),
        "tracking": ("mlflow", "tensorboard"),
    }
)
"""Modules of every extra of ``pyproject.toml`` by which its presence is told."""


class MissingExtraError(UsageError):
    """Something was asked for that the core alone cannot do."""


def missing(extra: str) -> list[str]:
    """Modules of an extra that are not installed; nothing is imported."""
    return [module for module in MODULES[extra] if find_spec(module) is None]


def require(extra: str, purpose: str) -> None:
    """Go on only if everything of an extra is installed.

    Args:
        extra: Name of the extra.
        purpose: What needs it, as the subject of a sentence.

    Raises:
        MissingExtraError: Something of it is not installed.
    """
    lacking = missing(extra)
    if lacking:
        raise MissingExtraError(
            f"{purpose} needs {', '.join(lacking)}, which {'is' if len(lacking) == 1 else 'are'} not installed",
            do=f"pip install 'traindx[{extra}]'",
        )
