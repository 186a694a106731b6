from __future__ import annotations

from pathlib import Path

import pytest
import sample_diagnosis

from traindx.diagnosis import Diagnosis


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The evidence directory of the sample; its sources are in it too."""
    return tmp_path / "evidence"


@pytest.fixture
def sample(directory: Path) -> Diagnosis:
    """A rich synthetic diagnosis."""
    return sample_diagnosis.build(directory)
