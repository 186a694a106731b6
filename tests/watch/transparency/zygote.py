"""Runs idioms in children of a process that has imported torch once, watched or not.

It reads ``{"file", "name", "folder", "settings"}`` a line (settings: a path, or null for an unwatched run) and answers
with the exit code. A child's output goes to ``stdout.txt`` and ``stderr.txt`` beside its folder.
"""

from __future__ import annotations

import atexit
import builtins
import gc
import json
import os
import sys
import threading
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any


def run_plainly(file: str, name: str) -> int:
    """As ``python FILE NAME`` does; written apart from what is tested."""
    sys.argv = [file, name]
    sys.path[0] = os.path.dirname(file)
    module = ModuleType("__main__")
    module.__dict__.update(__file__=file, __builtins__=builtins)
    sys.modules["__main__"] = module
    try:
        exec(compile(Path(file).read_text(encoding="utf-8"), file, "exec"), module.__dict__)
    except SystemExit as request:
        return int(request.code or 0)
    except BaseException as error:
        traceback.print_exception(error)
        return 1
    return 0


def run_watched(settings_path: str) -> int:
    from traindx.watch.runtime import bootstrap as script
    from traindx.watch.runtime.settings import Settings

    settings = Settings.load(Path(settings_path))
    bootstrap = script.Bootstrap(settings)
    bootstrap.prepare()
    code = script.execute(bootstrap, settings)
    bootstrap.finish()
    return code


def child(order: dict[str, Any], kept: list[Any]) -> int:
    folder = Path(order["folder"])
    os.chdir(folder)
    for number, stream in ((1, "stdout"), (2, "stderr")):
        target = os.open(folder.parent / f"{folder.name}.{stream}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(target, number)
    kept.append(sys.modules["__main__"])
    if order["settings"] is None:
        return run_plainly(order["file"], order["name"])
    return run_watched(order["settings"])


def leave(code: int) -> None:
    """End as the interpreter does, but for the taking down of torch, which takes half a second."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if not stream.closed:
            stream.flush()
    os._exit(code)


def main() -> None:
    import numpy  # noqa: F401
    import torch
    import torch._dynamo  # which every optimiser imports, in three seconds
    import yaml  # noqa: F401

    import traindx.watch.runtime.assembly  # noqa: F401

    torch.set_num_threads(1)
    gc.disable()  # so that children do not copy every page by collecting
    gc.freeze()
    gc.enable()
    print("ready", flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            leave(child(json.loads(line), []))
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
