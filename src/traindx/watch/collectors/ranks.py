"""Distributed training: rank 0 is watched as a single process is, the others are compared with it.

Workers are reached where they are started: ``torch.multiprocessing.spawn`` gets a function of ours around the user's,
and ``torchrun`` (``-m torch.distributed.run``) starts our script runner instead of the script. Every rank writes, for
its first calls of a ``DistributedDataParallel`` network, a fingerprint of the batch, and at a few of them samples of
weights and buffers as they are right before the forward pass, when all ranks should agree. The ranks end together: the
one that is watched says after which iteration, and the others look before every new one.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traindx.watch.collectors.elsewhere import NOT_WATCHED
from traindx.watch.runtime.call_sites import here
from traindx.watch.runtime.patching import Patches
from traindx.watch.runtime.settings import WINDOW_FILE, Settings
from traindx.watch.runtime.stats import sample, thin
from traindx.watch.runtime.structure import named_buffers, named_parameters

if TYPE_CHECKING:
    from types import ModuleType

    from traindx.watch.runtime.watch import Watch

FOLDER = "ranks"
STOP_FILE = "stop.after"  # iteration after which all ranks end
WORKER_FILE = "settings.worker.json"
RUNNER = "traindx.watch.runtime.bootstrap"  # what a worker begins with, named as a process is started: it stands above
WORLD_FILE = "world"  # number of ranks
MOST_CALLS = 64  # network calls with a fingerprint of their batch
STATES_AT = (0, 3, 15, 63)  # calls at which weights and buffers are sampled
MOST_TENSORS = 128
VALUES = 8  # values kept of each


def is_worker(settings: Settings) -> bool:
    """True in a process that somebody's launcher started for one rank."""
    return bool(settings.extras.get("worker"))


def rank_here() -> int:
    """The rank of this process, from the process group or the launcher's environment."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_rank())
    return int(os.environ.get("RANK", "0"))


class RankRecorder:
    """Writes what one rank sees of its distributed networks."""

    def __init__(self, torch: ModuleType, settings: Settings, watch: Watch | None = None) -> None:
        self.torch: Any = torch
        self.settings = settings
        self.watch = watch
        self.folder = Path(settings.out) / FOLDER
        self.patches = Patches()
        self.calls = 0
        self.iteration = 0
        self._clock: Callable[[], Any] = lambda: None
        self._pid = os.getpid()

    def install(self) -> None:
        """Patch the distributed wrapper; on ranks that are not watched also count iterations."""
        parallel = import_module("torch.nn.parallel.distributed").DistributedDataParallel
        self.patches.wrap(parallel, "_pre_forward", self._make_pre_forward)
        if self.torch.distributed.is_available():
            self.patches.wrap(self.torch.distributed, "init_process_group", self._make_init)
            self._note_world()
        if self.watch is None:
            hooks = import_module("torch.optim.optimizer")
            self.patches.keep(hooks.register_optimizer_step_post_hook(self._stepped))
        else:
            self.watch.hold = self._hold

    def _make_init(self, original: Any) -> Any:
        def init_process_group(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            self._note_world()
            return result

        return init_process_group

    def _note_world(self) -> None:
        """That there are several ranks, so that a missing comparison can be told from a single process."""
        distributed = self.torch.distributed
        if distributed.is_initialized() and distributed.get_world_size() > 1:
            self.folder.mkdir(exist_ok=True)
            (self.folder / WORLD_FILE).write_text(str(distributed.get_world_size()), encoding="utf-8")

    def _make_pre_forward(self, original: Any) -> Any:
        def pre_forward(network: Any, *inputs: Any, **kwargs: Any) -> Any:
            result = original(network, *inputs, **kwargs)  # buffers are alike on all ranks from here on
            distributed = self.torch.distributed
            wanted = self.calls < MOST_CALLS and self.torch.is_grad_enabled() and os.getpid() == self._pid
            if wanted and distributed.get_world_size() > 1:
                with self.watch.ours() if self.watch is not None else nullcontext():
                    self._write(network, inputs, kwargs)
                self.calls += 1
            return result

        return pre_forward

    def _write(self, network: Any, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen: dict[str, Any] = {"call": self.calls, "batch": fingerprint(self.torch, (inputs, kwargs))}
        if self.calls in STATES_AT:
            inner = network.module
            seen["weights"] = samples(named_parameters(inner))
            seen["buffers"] = samples(named_buffers(inner))
        self.folder.mkdir(exist_ok=True)
        with (self.folder / f"rank{rank_here()}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(seen) + "\n")

    # -- ending together -----------------------------------------------------------------------------------------

    def _hold(self, iteration: int) -> bool:
        """The window is full on the watched rank: tell the others first, and end one iteration later."""
        stop = self.folder / STOP_FILE
        if not self.calls:
            return False
        if not stop.exists():
            stop.write_text(str(iteration + 1), encoding="utf-8")
            return True
        return iteration < int(stop.read_text(encoding="utf-8"))

    def _stepped(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        from traindx.watch.runtime.watch import WindowEnded

        if os.getpid() != self._pid:
            return
        if self._clock() is None:
            self._clock = weakref.ref(optimizer)
        if self._clock() is not optimizer:
            return
        self.iteration += 1
        stop = self.folder / STOP_FILE
        if self.settings.stop and stop.exists() and self.iteration >= int(stop.read_text(encoding="utf-8") or 0):
            self.patches.undo()
            raise WindowEnded


class Ranked:
    """The user's function for one rank, watched; takes the place of the function given to ``spawn``."""

    def __init__(self, function: Callable[..., Any], settings: str) -> None:
        self.function = function
        self.settings = settings

    def __call__(self, index: int, *args: Any) -> Any:
        """Run it."""
        from traindx.watch.runtime.watch import WindowEnded

        runner = import_module(RUNNER)
        bootstrap = runner.Bootstrap(Settings.load(Path(self.settings)))
        import_module("torch.distributed")
        torch = sys.modules["torch"]
        patches = Patches()

        def make(original: Any) -> Any:
            def init_process_group(*values: Any, **named: Any) -> Any:
                result = original(*values, **named)
                bootstrap.prepare()
                return result

            return init_process_group

        patches.wrap(torch.distributed, "init_process_group", make)
        try:
            return self.function(index, *args)
        except WindowEnded:
            return None
        except Exception as error:
            bootstrap.finish()
            runner.report_crash(bootstrap.out, error)
            raise
        finally:
            patches.undo()
            bootstrap.finish()


class Launchers:
    """In the process that the user starts: reaches the workers that it starts in turn."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.out = Path(watch.settings.out)

    def install(self, imports: Any) -> None:
        """Wait for the launchers of torch."""
        imports.when("torch.multiprocessing.spawn", self._spawning)
        imports.when("torch.multiprocessing", self._spawning)  # which has its own name for the function
        imports.when("torch.distributed.launcher.api", self._running)
        if self.watch.settings.extras.get("launches"):
            self.watch.patches.wrap(subprocess.Popen, "__init__", self._make_popen)

    def _settings(self, **changes: Any) -> str:
        settings = self.watch.settings
        path = self.out / WORKER_FILE
        replace(settings, extras={**settings.extras, "worker": True, "parent": 0}, **changes).save(path)
        return str(path.resolve())

    def _spawning(self, module: ModuleType) -> None:
        watch = self.watch

        def make(original: Any) -> Any:
            def start_processes(function: Any, *args: Any, **kwargs: Any) -> Any:
                from traindx.watch.runtime.watch import WindowEnded

                if not watch.here_and_now:
                    return original(function, *args, **kwargs)
                try:
                    result = original(Ranked(function, self._settings()), *args, **kwargs)
                finally:
                    site = here()
                    if (self.out / FOLDER).exists():
                        watch.silence()
                    elif site is not None:  # they form no group, so none of them is a rank that was watched
                        watch.not_examined(f"a process started at {site.location()}", NOT_WATCHED, site)
                if result is None and watch.settings.stop and (self.out / WINDOW_FILE).exists():
                    raise WindowEnded
                return result

            return start_processes

        watch.patches.wrap(module, "start_processes", make)

    def _make_popen(self, original: Any) -> Any:
        """``accelerate launch`` for one process: it trains nothing itself, and starts the script as a program."""
        watch = self.watch

        def init(process: Any, args: Any, *rest: Any, **kwargs: Any) -> Any:
            words = [str(word) for word in args] if isinstance(args, list | tuple) else []
            target = python_target(words[0], tuple(words[1:])) if words else None
            if target is None or not watch.here_and_now:
                return original(process, args, *rest, **kwargs)
            name, is_module, arguments = target
            settings = self._settings(target=name, is_module=is_module, arguments=(), user_roots=())
            watch.silence()
            ours = [words[0], "-m", RUNNER, settings, *arguments]
            return original(process, ours, *rest, **kwargs)

        return init

    def _running(self, module: ModuleType) -> None:
        """``torchrun``: its agent does not train, and starts each rank through us."""
        watch = self.watch

        def make(original: Any) -> Any:
            def launch(agent: Any, *arguments: Any) -> Any:
                target = python_target(agent._entrypoint, arguments)
                if target is None or not watch.here_and_now:
                    watch.not_examined("workers", "they are not started as `python SCRIPT` or `python -m MODULE`")
                    return original(agent, *arguments)
                name, is_module, rest = target
                settings = self._settings(target=name, is_module=is_module, arguments=(), user_roots=())
                watch.silence()
                return original(agent, "-u", "-m", RUNNER, settings, *rest)

            return launch

        watch.patches.wrap(module.elastic_launch, "__call__", make)


def python_target(command: Any, arguments: tuple[Any, ...]) -> tuple[str, bool, tuple[Any, ...]] | None:
    """Script or module, which of the two, and its arguments, of ``python [-u] [-m] TARGET ARGS``; None for others."""
    if not isinstance(command, str) or "python" not in os.path.basename(command):
        return None
    rest = arguments[1:] if arguments[:1] == ("-u",) else arguments
    is_module = rest[:1] == ("-m",)
    rest = rest[1:] if is_module else rest
    return (str(rest[0]), is_module, rest[1:]) if rest and not str(rest[0]).startswith("-") else None


def fingerprint(torch: Any, value: Any) -> str:
    """A short hash of all tensors in a nested value: shapes and up to 4096 values of each."""
    from traindx.watch.collectors.loaders import tensors_in

    digest = hashlib.sha1(usedforsecurity=False)
    for _, tensor in tensors_in(value, torch):
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(sample(tensor).numpy().tobytes())
    return digest.hexdigest()[:16]


def samples(named: Any) -> dict[str, list[float]]:
    """A few values of each of at most :data:`MOST_TENSORS` tensors."""
    chosen = thin([(name, tensor) for name, tensor in named if tensor.is_floating_point()], MOST_TENSORS)
    return {name: [float(value) for value in sample(tensor, VALUES)[:VALUES]] for name, tensor in chosen}
