"""What can only be seen on an accelerator, in under ten minutes: is watching transparent there, what does it cost, does
anything of ours make the script wait, and does the demonstration work.

    python benchmarks/gpu_check.py [--device cuda] [--out DIR] [--short]      # --device cpu --short is a dry run

Transparency: training scripts in the manner of the tests' idioms are run on the device, twice as they are (to see that
they are deterministic there) and once watched to their end; final weights, random state and output must be the same bit
by bit. Waiting: torch reports synchronisations (``torch.cuda.set_sync_debug_mode``) while iterations that are not
watched go by; none may come from a line of ours. Overhead: windows of steps, bare and watched, in random order, wall
time with the device synchronised at both ends. Demonstration: a second softmax is found at its line on the device, and
``traindx demo`` with a budget. The table is printed and written to ``DIR/gpu-check.md``; exit code 0 if all is well.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 1.25  # docs/observation.md: in the window as `examine` watches it

HEAD = """
    import hashlib, os, sys
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    import torch
    from torch import nn
    import torch.nn.functional as F
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    device, steps = torch.device(sys.argv[1]), int(sys.argv[2])

    def net():
        body = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1), nn.Conv2d(8, 3, 1)]
        return nn.Sequential(*body).to(device)

    def batch():
        return torch.randn(4, 1, 16, 16, device=device), torch.randint(0, 3, (4, 16, 16), device=device)

    def show(*things):
        for thing in things:
            tensors = thing.state_dict().values() if isinstance(thing, nn.Module) else [thing]
            data = [one.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes() for one in tensors]
            print(hashlib.sha256(b"".join(data)).hexdigest()[:16])
        print(torch.rand(2, device=device).tolist(), torch.rand(2).tolist())
"""

SCRIPTS = {
    "loader, clipping, schedule, validation": """
        data = torch.utils.data.TensorDataset(torch.randn(64, 1, 16, 16), torch.randint(0, 3, (64, 16, 16)))
        loader = torch.utils.data.DataLoader(data, batch_size=8, shuffle=True, pin_memory=device.type == "cuda")
        model = net()
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for epoch in range(max(1, steps // 8)):
            model.train()
            for x, y in loader:
                optimizer.zero_grad()
                loss = F.nll_loss(F.log_softmax(model(x.to(device, non_blocking=True)), 1), y.to(device))
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
            model.eval()
            with torch.no_grad():
                print(epoch, float(F.l1_loss(model(x.to(device)), torch.zeros(8, 3, 16, 16, device=device))))
        show(model)
    """,
    "half precision with a gradient scaler": """
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), 1e-2, momentum=0.9)
        scaler = torch.amp.GradScaler(device.type, init_scale=256.0)
        kind = torch.float16 if device.type == "cuda" else torch.bfloat16
        for step in range(steps):
            x, y = batch()
            optimizer.zero_grad()
            with torch.autocast(device.type, dtype=kind):
                loss = -F.log_softmax(model(x).float(), 1).gather(1, y[:, None]).mean()
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
        print(scaler.get_scale())
        show(model)
    """,
    "two optimisers and a copy that follows": """
        import copy
        g, d = net(), net()
        follows = copy.deepcopy(g)
        og = torch.optim.Adam(g.parameters(), 1e-3, capturable=device.type == "cuda")
        od = torch.optim.Adam(d.parameters(), 1e-3, foreach=True)
        for step in range(steps):
            x, _ = batch()
            fake = g(x)[:, :1]
            od.zero_grad()
            (F.softplus(-d(x)).mean() + F.softplus(d(fake.detach())).mean()).backward()
            od.step()
            og.zero_grad()
            F.softplus(-d(fake)).mean().backward()
            og.step()
            with torch.no_grad():
                for mine, its in zip(follows.parameters(), g.parameters()):
                    mine.lerp_(its, 0.1)
            if step % 4 == 0:
                follows.load_state_dict({**follows.state_dict(), "1.running_mean": g.state_dict()["1.running_mean"]})
        show(g, d, follows)
    """,
    "attention, accumulation, checkpointed segments": """
        from torch.utils.checkpoint import checkpoint
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, dropout=0.1).to(device)
        head = nn.Linear(32, 4).to(device)
        optimizer = torch.optim.AdamW([*layer.parameters(), *head.parameters()], 1e-3)
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            for step in range(2 * steps):
                x, y = torch.randn(4, 9, 32, device=device), torch.randint(0, 4, (4,), device=device)
                loss = F.cross_entropy(head(checkpoint(layer, x, use_reentrant=False).mean(1)), y)
                (loss / 2).backward()
                if step % 2:
                    optimizer.step()
                    optimizer.zero_grad()
        show(layer, head)
    """,
    "a stream of its own, and memory statistics": """
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), 1e-2)
        stream = torch.cuda.Stream() if device.type == "cuda" else None
        for step in range(steps):
            if stream is not None:
                with torch.cuda.stream(stream):
                    x, _ = batch()
                torch.cuda.current_stream().wait_stream(stream)
                x.record_stream(torch.cuda.current_stream())
            else:
                x, _ = batch()
            optimizer.zero_grad(set_to_none=False)
            model(x).square().mean().backward()
            optimizer.step()
        print(torch.cuda.current_stream() == torch.cuda.default_stream() if stream is not None else True)
        show(model)
    """,
}

FAULTY = """
    import sys
    import torch
    from torch import nn
    torch.manual_seed(0)
    device = sys.argv[1]
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3), nn.Softmax(dim=1)).to(device)
    loss_function = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for step in range(40):
        x, y = torch.randn(16, 8, device=device), torch.randint(0, 3, (16,), device=device)
        loss = loss_function(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""


def environment() -> dict[str, str]:
    """This checkout's sources, wherever the command was started."""
    path = os.pathsep.join([str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"}


def script(folder: Path, body: str, name: str = "train.py") -> Path:
    """Write a script."""
    path = folder / name
    path.write_text(textwrap.dedent(body), encoding="utf-8")
    return path


def transparent(device: str, steps: int, folder: Path) -> list[tuple[str, bool, str]]:
    """Every script, bare twice and watched once."""
    rows = []
    for title, body in SCRIPTS.items():
        path = script(folder, textwrap.dedent(HEAD) + textwrap.dedent(body))
        bare = [run([sys.executable, str(path), device, str(steps)], folder) for _ in range(2)]
        out = folder / "watched"
        flags = ["--no-stop", "--steps", "0", "--until", "0s", "--json", "--out", str(out)]
        command = [sys.executable, "-m", "traindx", "examine", str(path), *flags, "--", device, str(steps)]
        # The report goes to stdout; what the script prints goes to stderr, which is kept apart by its lines.
        examined = run(command, folder, keep="stderr")
        if bare[0] != bare[1]:
            rows.append((title, False, "is not deterministic on this device, so nothing can be compared"))
            continue
        printed = [line for line in examined[1].splitlines() if line and not line.startswith("traindx")]
        same = all(line in printed for line in bare[0][1].splitlines()) and bare[0][0] == 0
        rows.append(
            (title, same, "same weights, random state and output" if same else last_lines(examined[1], bare[0][1]))
        )
    return rows


def run(command: list[str], folder: Path, keep: str = "stdout") -> tuple[int, str]:
    """Exit code and what was printed."""
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    return done.returncode, done.stdout if keep == "stdout" and done.returncode == 0 else done.stdout + done.stderr


def last_lines(*texts: str) -> str:
    """The end of each text, on one line."""
    return " | ".join(" / ".join(text.strip().splitlines()[-3:])[-300:] for text in texts)


def model_of(torch: Any, device: str, width: int) -> Callable[[], None]:
    """One step of a small 2D U-Net-like network."""
    nn = torch.nn
    body = [nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
    for _ in range(4):
        body += [nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout2d(0.1)]
    net = nn.Sequential(*body, nn.Conv2d(width, 1, 1)).to(device)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)

    def step() -> None:
        x = torch.rand(8, 1, 96, 96, device=device)
        loss = nn.functional.l1_loss(net(x), x) + 0.1 * net[-1].weight.square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()

    return step


def overhead(device: str, pairs: int, steps: int) -> list[float]:
    """Ratios of wall time, watched over bare, a pair each."""
    import overhead as benchmark
    import torch

    benchmark_step = model_of(torch, device, 32 if device != "cpu" else 8)
    synchronise: Callable[[], Any] = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    from traindx.watch.runtime.call_sites import count_as_users

    count_as_users(str(Path(__file__).parent))
    for _ in range(5):
        benchmark_step()
    order, ratios = random.Random(0), []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(pairs):
            times = {}
            for what in order.sample(["bare", "watched"], 2):
                watch = benchmark.begin_watching(0, folder) if what == "watched" else None
                synchronise()
                begun = time.perf_counter()
                for _ in range(steps):
                    benchmark_step()
                synchronise()
                times[what] = time.perf_counter() - begun
                if watch is not None:
                    watch.finish()
                    watch.sink.close()
            ratios.append(times["watched"] / times["bare"])
    return ratios


def waits(device: str, steps: int) -> list[str]:
    """Synchronisations that torch reports at lines of ours, outside watched iterations."""
    import overhead as benchmark
    import torch

    if not device.startswith("cuda"):
        return []
    step = model_of(torch, device, 8)
    found: list[str] = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        watch = benchmark.begin_watching(0, folder)
        for _ in range(steps):
            quiet = not watch.may_wait
            torch.cuda.set_sync_debug_mode("warn" if quiet else "default")
            count = len(said)
            step()
            if quiet and not watch.may_wait:  # the step's end may have begun a watched iteration
                found += [f"{one.filename}:{one.lineno}" for one in said[count:] if "traindx" in one.filename]
        torch.cuda.set_sync_debug_mode("default")
        watch.finish()
        watch.sink.close()
    return sorted(set(found))


def planted(device: str, folder: Path) -> tuple[bool, str]:
    """A softmax before a cross entropy, on the device: found, at the line of the loss."""
    import json

    path = script(folder, FAULTY, "faulty.py")
    out = folder / "faulty-out"
    run([sys.executable, "-m", "traindx", "examine", str(path), "--out", str(out), "--json", "--", device], folder)
    diagnosis = json.loads((out / "diagnosis.json").read_text(encoding="utf-8"))
    said = [f"{one['code']} {one['standing']} {one['location']['line']}" for one in diagnosis["findings"]]
    return any(one.startswith("L305") for one in said), ", ".join(said) or diagnosis["outcome"]


def main() -> int:
    """Run everything and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, default=Path("gpu-check"))
    parser.add_argument("--short", action="store_true", help="fewer steps and pairs, and no demonstration")
    parser.add_argument("--demo-budget", default="3m")
    options = parser.parse_args()
    sys.path[:0] = [str(ROOT / "src"), str(ROOT / "benchmarks")]
    options.out.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    import torch

    name = torch.cuda.get_device_name(0) if options.device.startswith("cuda") else platform.processor() or "cpu"
    lines = [f"# Check on {options.device} ({name}, torch {torch.__version__})", ""]
    good = True

    def say(title: str, well: bool | None, text: str) -> None:
        nonlocal good
        good = good and well is not False
        lines.append(f"* {'ok' if well else 'NOT OK' if well is False else '--'}: {title}: {text}")
        print(lines[-1], f"[{time.monotonic() - begun:.0f} s]", flush=True)

    with tempfile.TemporaryDirectory() as scratch:
        for title, well, text in transparent(options.device, 6 if options.short else 24, Path(scratch)):
            say(title, well, text)
        say("a second softmax", *planted(options.device, Path(scratch)))
    found = waits(options.device, 120)
    said = ", ".join(found) or ("none" if options.device.startswith("cuda") else "torch reports them for CUDA only")
    say("waiting outside watched iterations", not found if options.device.startswith("cuda") else None, said)
    ratios = overhead(options.device, 2 if options.short else 7, 20 if options.short else 120)
    middle = statistics.median(ratios)
    judged = None if options.short else middle <= LIMIT
    say("overhead in the window", judged, f"{100 * (middle - 1):+.1f} % ({min(ratios):.2f} to {max(ratios):.2f})")
    if not options.short:
        out = options.out / "demo"
        command = [sys.executable, "-m", "traindx", "demo", "--budget", options.demo_budget, "--out", str(out)]
        code, printed = run(command, options.out)
        say("traindx demo", code == 0, f"exit code {code}; {last_lines(printed)}")
    lines += ["", f"{time.monotonic() - begun:.0f} s in all."]
    (options.out / "gpu-check.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
