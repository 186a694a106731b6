"""Functions as a user writes them, recorded and tried without any child process."""

from __future__ import annotations

import itertools
import linecache
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from traindx.evidence.probed_definitions import DefinitionTried
from traindx.watch.probes.recorded import Recorder
from traindx.watch.probes.textbook import tried

_numbers = itertools.count()


@pytest.fixture
def define(tmp_path: Path) -> Callable[..., dict[str, DefinitionTried]]:
    """``define(source, call)``: records by property, of what an expression calls in a module of this source."""

    def run(source: str, call: str) -> dict[str, DefinitionTried]:
        path = tmp_path / f"functions_{next(_numbers)}.py"
        text = "import math\nimport numpy as np\nimport torch\nimport torch.nn as nn\nimport torch.nn.functional as F\n"
        path.write_text(text + textwrap.dedent(source))
        linecache.checkcache()
        module = ModuleType(path.stem)
        names: dict[str, Any] = vars(module)
        sys.modules[path.stem] = module
        exec(compile(path.read_text(), str(path), "exec"), names)
        recorder = Recorder(torch)
        torch.manual_seed(0)
        with recorder.recording(10.0):
            eval(call, names)
        del sys.modules[path.stem]
        return {one.key: one for one in tried(torch, recorder.done()) if isinstance(one, DefinitionTried)}

    return run
