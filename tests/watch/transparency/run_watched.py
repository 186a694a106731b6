"""Watches one program to its end and leaves with its exit code; what is told of the run goes into a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from traindx.host.runner import Patience, run_script
from traindx.watch.runtime.settings import Settings

if __name__ == "__main__":
    place, fields = Path(sys.argv[1]), json.loads(sys.argv[2])
    run = run_script(
        Settings(**{**fields, "arguments": tuple(fields["arguments"])}), patience=Patience(first_step=300.0)
    )
    (place / "run.json").write_text(run.model_dump_json(), encoding="utf-8")
