"""Runs arms of scripts in children of a process that has imported torch once, so that a test takes a fraction of a
second. It reads ``{"settings": path, "log": path}`` a line and answers with the exit code, negative for a signal.
"""

from __future__ import annotations

import json
import os
import sys


def child(settings_path: str, log_path: str) -> None:
    from pathlib import Path

    from traindx.watch.runtime import bootstrap as script
    from traindx.watch.runtime.settings import Settings

    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    settings = Settings.load(Path(settings_path))
    os.environ.update(settings.extras.get("environment", {}))
    os.chdir(settings.extras.get("directory") or os.getcwd())
    bootstrap = script.Bootstrap(settings)
    bootstrap.prepare()
    code = script.execute(bootstrap, settings)
    bootstrap.finish()
    sys.stdout.flush()
    os._exit(code)


def main() -> None:
    import torch
    import torch._dynamo  # which every optimiser imports, in three seconds

    import traindx.watch.runtime.assembly  # noqa: F401

    torch.set_num_threads(1)
    print("ready", flush=True)
    for line in sys.stdin:
        fields = json.loads(line)
        pid = os.fork()
        if not pid:
            try:
                os.chdir(fields["folder"])
                child(fields["settings"], fields["log"])
            except BaseException:
                import traceback

                traceback.print_exc()
            os._exit(70)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
