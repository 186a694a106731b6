"""``diagnosis.json``: the diagnosis itself, in the versioned schema that every other format is rendered from."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from traindx.diagnosis import SCHEMA_VERSION, Diagnosis
from traindx.errors import InputError


def render(diagnosis: Diagnosis, *, ascii_only: bool = False) -> str:
    """The diagnosis as JSON. NaN and infinity are the strings ``"NaN"`` and ``"Infinity"``.

    Args:
        diagnosis: What to write.
        ascii_only: Escape every other character, for a stream of unknown encoding.
    """
    text = diagnosis.model_dump_json(indent=2)
    return (json.dumps(json.loads(text), indent=2) if ascii_only else text) + "\n"


def load(path: Path) -> Diagnosis:
    """Read a diagnosis back.

    Raises:
        InputError: The file is missing, or is not a diagnosis of this schema.
    """
    try:
        return Diagnosis.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", expected="a diagnosis.json") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise InputError(
            f"{path} is not a diagnosis: {where}: {first['msg']}",
            expected=f"schema {SCHEMA_VERSION}",
            do="read it with the traindx version that wrote it",
        ) from error
