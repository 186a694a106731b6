"""Every kind of patch against the source as a person would have fixed it by hand, byte by byte."""

from __future__ import annotations

import inspect
import re
import subprocess
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from traindx.finding import Finding, Location, Severity
from traindx.fix import activations, patch_for
from traindx.fix.catalogue import CHANGES


@dataclass
class Case:
    """A finding on the line that ends in ``# HERE`` (the mark is not part of the source)."""

    code: str
    before: str
    after: str | None
    variant: str = ""
    numbers: dict[str, object] = field(default_factory=dict)
    id: str = ""


CASES = [
    Case(
        "C1116",
        "shown = overlay(mask, image)  # HERE",
        "shown = overlay(image, mask)",
        variant="arguments",
        numbers={"was": "mask", "better": "image"},
        id="arguments that are crossed",
    ),
    Case(
        "C1117",
        "logits_s = outs_w['logits']  # HERE",
        "logits_s = outs_s['logits']",
        variant="stand-in",
        numbers={"was": "outs_w", "better": "outs_s"},
        id="a copy that was not adapted",
    ),
    Case(
        "L305",
        """
        def forward(self, x):
            logits = self.fc(x)   # (B, classes)
            return torch.softmax(logits, dim=1)  # HERE
        """,
        """
        def forward(self, x):
            logits = self.fc(x)   # (B, classes)
            return logits
        """,
        id="softmax before cross entropy",
    ),
    Case("L305", "y = x.sigmoid().mean()  # HERE", "y = x.mean()", id="method"),
    Case("L305", "y = torch.sigmoid(a + b) * c  # HERE", "y = (a + b) * c", id="operators keep their order"),
    Case("L305", "net = nn.Sequential(a, torch.nn.Sigmoid())  # HERE", "net = nn.Sequential(a, torch.nn.Identity())"),
    Case("L305", "loss = DiceLoss(include_background=True, sigmoid=True)  # HERE",
         "loss = DiceLoss(include_background=True, sigmoid=False)", id="flag of a loss"),
    Case("L305", "y = self.head.softmax(self.fc(x))  # HERE", "y = self.fc(x)", id="a module kept under that name"),
    Case("L305", "y = self.logits.softmax(1)  # HERE", "y = self.logits", id="a tensor kept by the module"),
    Case("L305", "from torch.nn import Sigmoid\nhead = Sigmoid()  # HERE", None, id="torch is not known by its name"),
    Case("L305", "y = torch.sigmoid(a) + torch.sigmoid(b)  # HERE", None, id="two of them: which one?"),
    Case("L305", "y = torch.softmax(a, 1)  # HERE", None, variant="axis-of-length-one"),
    Case("L305", "p = F.softmax(a, dim=1)  # HERE", "p = F.log_softmax(a, dim=1)",
         variant="not-log-probabilities"),
    Case("L306", "flow = torch.clamp(self.out(h), -0.02, 0.02)  # HERE", "flow = self.out(h)"),
    Case("M203", "return rec.clamp(min=0, max=1)  # HERE", "return rec"),
    Case("M203", "return torch.tanh(self.dec(h + self.mid(h)))  # HERE", "return self.dec(h + self.mid(h))"),
    Case("L306", "def f():\n    y = net(x)\n    y.clamp_(0, 1)  # HERE\n    return y\n",
         "def f():\n    y = net(x)\n    return y\n"),
    Case("L306", "y = x.clamp(0, 1) + z.clamp(0, 1)  # HERE", None, id="two clamps"),
    Case("L303", "loss = 2.0 * box + iou.item()  # HERE", "loss = 2.0 * box + iou"),
    Case("L303", "loss = box + float(iou)  # HERE", "loss = box + iou"),
    Case("L303", "total = (a - b).detach()  # HERE", "total = (a - b)"),
    Case("L303", "print(loss.item())  # HERE", None, id="a number that is only printed"),
    Case(
        "L307",
        """
        seg_loss = nn.BCEWithLogitsLoss(reduction="sum")  # per voxel
        vol_loss = nn.L1Loss()
        loss = seg_loss(a, b) + 0.3 * vol_loss(c, d)  # HERE
        """,
        """
        seg_loss = nn.BCEWithLogitsLoss(reduction="mean")  # per voxel
        vol_loss = nn.L1Loss()
        loss = seg_loss(a, b) + 0.3 * vol_loss(c, d)
        """,
        variant="summed",
    ),
    Case("M208", "diff = pred - y_tr[b]  # HERE", "diff = pred.squeeze(-1) - y_tr[b]",
         numbers={"prediction_shape": "(16, 1)", "target_shape": "(16,)"}),
    Case("M208", "loss = F.mse_loss(model(x), age)  # HERE", "loss = F.mse_loss(model(x).squeeze(-1), age)",
         numbers={"prediction_shape": "(16, 1)", "target_shape": "(16,)"}),
    Case("M208", "loss = F.mse_loss(out, age[idx])  # HERE", "loss = F.mse_loss(out, age[idx].squeeze(-1))",
         numbers={"prediction_shape": "(16,)", "target_shape": "(16, 1)"}),
    Case("M208", "diff = a - b  # HERE", None, numbers={"prediction_shape": "(16, 1)", "target_shape": "(16,)"},
         id="nothing says which is the prediction"),
    Case("M208", "diff = pred - y  # HERE", None, numbers={"prediction_shape": "(4, 3)", "target_shape": "(3, 1)"}),
    Case("T906", "ce = -torch.log(p_t)  # HERE", "ce = -torch.log(p_t + 1e-6)", numbers={"function": "log"}),
    Case("T906", "d = (a - b).square().sum(1).sqrt()  # HERE", "d = ((a - b).square().sum(1) + 1e-12).sqrt()",
         numbers={"function": "sqrt"}),
    Case("T906", "z = (x - mean) / std  # HERE", "z = (x - mean) / (std + 1e-6)", numbers={"function": "div"}),
    Case("T906", "loss = F.mse_loss(a, b)  # HERE", None, numbers={"function": "mse_loss"}),
    Case(
        "O406",
        """
        for x, y in loader:
            loss = criterion(net(x), y)
            loss.backward()  # HERE
            opt.step()   # update
            total += loss.item()
        """,
        """
        for x, y in loader:
            loss = criterion(net(x), y)
            loss.backward()
            opt.step()   # update
            opt.zero_grad()
            total += loss.item()
        """,
    ),
    Case(
        "O406",
        """
        def step(self):
            self.scaler.scale(loss).backward()  # HERE
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.scheduler.step()
        """,
        """
        def step(self):
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad()
            self.scheduler.step()
        """,
        id="after the scaler's update, not after a schedule",
    ),
    Case("O406", "loss.backward()  # HERE\ng_opt.step()\nd_opt.step()", None, id="two optimisers: whose gradients?"),
    Case("M207", "import torch\nself.blocks = [Up(8), Up(4)]  # HERE",
         "import torch\nself.blocks = torch.nn.ModuleList([Up(8), Up(4)])",
         variant="unregistered"),
    Case(
        "M207",
        "from torch import nn\nself.heads = {k: nn.Linear(4, n) for k, n in tasks.items()}  # HERE",
        "from torch import nn\nself.heads = nn.ModuleDict({k: nn.Linear(4, n) for k, n in tasks.items()})",
        variant="unregistered",
    ),
    Case("M207", "return torch.optim.Adam(self.head.parameters(), lr=self.hparams.lr)  # HERE",
         "return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)",
         variant="in-no-optimiser"),
    Case("M207", "opt = torch.optim.Adam(list(a.parameters()) + list(b.parameters()))  # HERE", None,
         variant="in-no-optimiser"),
    Case(
        "C1103",
        """
        def validate(net, loader):
            net.eval()  # HERE
            with torch.no_grad():
                for x, y in loader:
                    n += (net(x).argmax(1) == y).sum()

            # per cent
            return 100 * n / len(loader)
        """,
        """
        def validate(net, loader):
            net.eval()
            with torch.no_grad():
                for x, y in loader:
                    n += (net(x).argmax(1) == y).sum()

            # per cent
            net.train()
            return 100 * n / len(loader)
        """,
        variant="stayed-in-evaluation",
    ),
    Case("C1103", "def f(net):\n    net.eval()  # HERE\n    if a:\n        return 1\n    return 2\n", None,
         variant="stayed-in-evaluation", id="left early"),
    Case(
        "C1103",
        '''
        def evaluate(model, loader):
            """Mean absolute error."""
            err = 0
            with torch.no_grad():
                for b in loader:
                    err += (model(b["clip"]) - b["ef"]).abs().sum().item()  # HERE
            return err
        ''',
        '''
        def evaluate(model, loader):
            """Mean absolute error."""
            model.eval()
            err = 0
            with torch.no_grad():
                for b in loader:
                    err += (model(b["clip"]) - b["ef"]).abs().sum().item()
            model.train()
            return err
        ''',
        variant="validated-in-training",
    ),
    Case(
        "C1103",
        """
        optimizer = SGD(net.parameters())
        for epoch in range(9):
            loss.backward()
            with torch.no_grad():
                dice = metric(net(x), y)  # HERE
            print(dice)
        """,
        """
        optimizer = SGD(net.parameters())
        for epoch in range(9):
            loss.backward()
            net.eval()
            with torch.no_grad():
                dice = metric(net(x), y)
            net.train()
            print(dice)
        """,
        variant="validated-in-training",
        id="the network, not the metric",
    ),
    Case("C1102", "model.load_state_dict(state, strict=False)  # HERE", "model.load_state_dict(state)"),
    Case("C1105", "import torch\na, b = random_split(data, [160, 40])  # HERE",
         "import torch\na, b = random_split(data, [160, 40], generator=torch.Generator().manual_seed(0))"),
    Case("C1105", "a, b = random_split(data, [160, 40])  # HERE", None, id="torch is not imported under its name"),
    Case("C1109", 'import warnings\nwarnings.filterwarnings("ignore")  # HERE', "import warnings",
         variant="warnings"),
    Case("O401", "opt = torch.optim.SGD(net.parameters(), 1e-9)  # HERE",
         "opt = torch.optim.SGD(net.parameters(), 0.001)",
         numbers={"learning_rate": 1e-9, "update_over_weight": 1e-9}),
    Case(
        "O402",
        "WEIGHT_DECAY = 0.5\nopt = torch.optim.AdamW(net.parameters(), lr=0.5, weight_decay=WEIGHT_DECAY)  # HERE",
        "WEIGHT_DECAY = 0.5\nopt = torch.optim.AdamW(net.parameters(), lr=0.005, weight_decay=WEIGHT_DECAY)",
        numbers={"learning_rate": 0.5, "update_over_weight": 0.12},
    ),
    Case("O402", "opt = torch.optim.AdamW(net.parameters(), lr=args.lr)  # HERE", None,
         numbers={"learning_rate": 0.5, "update_over_weight": 0.12}, id="written nowhere in this file"),
    Case(
        "O408",
        """
        ap.add_argument("--lr", type=float, default=3e-4)
        ap.add_argument("--lr-backbone", type=float, default=1e-8)  # slow
        opt = torch.optim.AdamW(groups, weight_decay=0.01)  # HERE
        """,
        """
        ap.add_argument("--lr", type=float, default=3e-4)
        ap.add_argument("--lr-backbone", type=float, default=3e-5)  # slow
        opt = torch.optim.AdamW(groups, weight_decay=0.01)
        """,
        numbers={"learning_rate": 1e-8, "fastest": 3e-4, "update_over_weight": 1e-9},
    ),
    Case("O405", "max_norm = 0.001\nnn.utils.clip_grad_norm_(p, max_norm=max_norm)  # HERE",
         "max_norm = 4.4\nnn.utils.clip_grad_norm_(p, max_norm=max_norm)",
         numbers={"limit": 0.001, "median_norm": 2.2}),
    Case(
        "O411",
        """
        scaler.scale(loss).backward()
        # keep it tame
        torch.nn.utils.clip_grad_norm_(net.parameters(), opt.clip)  # HERE
        scaler.step(optimizer)
        scaler.update()
        """,
        """
        scaler.scale(loss).backward()
        # keep it tame
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(net.parameters(), opt.clip)
        scaler.step(optimizer)
        scaler.update()
        """,
    ),
    Case(
        "O409",
        "scaler.scale(loss).backward()\nscaler.step(opt)  # HERE\n",
        "scaler.scale(loss).backward()\nscaler.step(opt)\nscaler.update()\n",
        variant="never-updated",
    ),
    Case(
        "O413",
        """
        loss.backward()
        optimizer.step()
        clip_grad_norm_(net.parameters(), 1.0)  # HERE
        total += 1
        """,
        """
        loss.backward()
        clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        total += 1
        """,
    ),
    Case(
        "O407",
        "loss.backward()\nscheduler.step()  # HERE\noptimizer.step()\n",
        "loss.backward()\noptimizer.step()\nscheduler.step()\n",
        variant="before-the-optimiser",
    ),
    Case("O407", "scheduler.step()  # HERE", None, variant=""),
    Case("C1111", "def f(x):\n    x.clamp(0, 1)  # HERE\n    return x\n",
         "def f(x):\n    x = x.clamp(0, 1)\n    return x\n"),
    Case("C1111", "from torchvision.transforms import functional as TF\nTF.resize(image, 32)  # HERE", None,
         id="a module is no operand"),
    Case("C1111", "torch.clamp(batch['image'], 0, 1)  # HERE", "batch['image'] = torch.clamp(batch['image'], 0, 1)"),
    Case("C1111", "sorted(files)  # HERE", "files = sorted(files)"),
    Case("C1111", "for x, y in loader:\n    y.to(device)  # HERE\n", "for x, y in loader:\n    y = y.to(device)\n"),
    Case("C1111", "def f():\n    table.to(device)  # HERE\n    return table\n", None, id="a name from outside"),
    Case("C1111", "net(x).clamp(0, 1)  # HERE", None, id="nothing to give it to"),
    Case("C1110", "best = model.state_dict()  # HERE",
         "best = {key: value.clone() for key, value in model.state_dict().items()}"),
    Case("C1110", "import copy\nbest = self.net.state_dict()  # HERE",
         "import copy\nbest = copy.deepcopy(self.net.state_dict())"),
    Case("C1110", "a, b = m.state_dict(), n.state_dict()  # HERE", None, id="two states"),
    Case("D137", "from scipy import ndimage\nlab = ndimage.zoom(lab, f, order=1)  # HERE",
         "from scipy import ndimage\nlab = ndimage.zoom(lab, f, order=0)"),
    Case("D137", "from scipy.ndimage import rotate\nlab = rotate(lab, 15, reshape=False)  # HERE",
         "from scipy.ndimage import rotate\nlab = rotate(lab, 15, reshape=False, order=0)"),
    Case("D137", "y = F.interpolate(y, size=s, mode='bilinear', align_corners=False)  # HERE",
         "y = F.interpolate(y, size=s, mode='nearest')"),
    Case("D137", "lab = TF.rotate(lab, 15)  # HERE", None, id="of another library"),
    Case("E812", "val = DataLoader(held, batch_size=8, shuffle=True)  # HERE",
         "val = DataLoader(held, batch_size=8, shuffle=False)"),
    Case("E812", "val = DataLoader(held, shuffle=shuffle)  # HERE", None, id="set elsewhere"),
    Case("L318", "penalty = ((g.norm(2, dim=1) - 1) ** 2).mean()  # HERE",
         "penalty = ((g.flatten(1).norm(2, dim=1) - 1) ** 2).mean()"),
    Case("L318", "n = torch.linalg.vector_norm(g, dim=(1, 2))  # HERE",
         "n = torch.linalg.vector_norm(g.flatten(1), dim=1)"),
    Case("L318", "n = torch.norm(g, 2, 1)  # HERE", "n = torch.norm(g.flatten(1), 2, 1)"),
    Case("L318", "n = g.square().sum(1).sqrt()  # HERE", None, id="a norm by hand"),
    Case("L320", "at_risk = risk[event].sum()  # HERE", "at_risk = risk[event.bool()].sum()"),
    Case("L320", "d = risk[event] - risk[other]  # HERE", None, id="two indices: which one?"),
    Case("M213", "w = F.grid_sample(img, grid, align_corners=True)  # HERE",
         "w = F.grid_sample(img, grid.flip(-1), align_corners=True)", variant="order"),
    Case("M213", "w = F.grid_sample(img, base + flow)  # HERE", "w = F.grid_sample(img, (base + flow).flip(-1))",
         variant="order"),
    Case("M213", "w = F.grid_sample(img, grid=base + flow)  # HERE",
         "w = F.grid_sample(img, grid=(base + flow) * 2 - 1)", variant="unit"),
    Case("M213", "w = F.grid_sample(img, grid)  # HERE", None, variant="pixels"),
    Case("O415", "s = ReduceLROnPlateau(opt, mode='max', patience=2)  # HERE",
         "s = ReduceLROnPlateau(opt, mode='min', patience=2)"),
    Case("O415", "s = torch.optim.lr_scheduler.ReduceLROnPlateau(opt, 'min')  # HERE",
         "s = torch.optim.lr_scheduler.ReduceLROnPlateau(opt, 'max')"),
    Case("O415", "s = ReduceLROnPlateau(opt, patience=2)  # HERE",
         's = ReduceLROnPlateau(opt, patience=2, mode="max")'),
    Case("O415", "s = ReduceLROnPlateau(opt, mode=mode)  # HERE", None, id="set somewhere else"),
    Case("O412", "loss.backward()  # HERE", None, id="a code without patches"),
]  # fmt: skip


def source_of(text: str) -> tuple[bytes, int]:
    """A source and the line that is marked in it."""
    lines = textwrap.dedent(text).strip("\n").splitlines()
    (number,) = [i for i, line in enumerate(lines, start=1) if line.endswith("  # HERE")]
    return ("\n".join(lines).replace("  # HERE", "") + "\n").encode(), number


def plain(text: str) -> bytes:
    lines = textwrap.dedent(text).strip("\n").splitlines()
    return ("\n".join(lines) + "\n").encode()


def finding(case: Case, file: str, line: int) -> Finding:
    return Finding(
        code=case.code, name="x", message="reworded at any time", variant=case.variant,
        location=Location(file=file, line=line), severity=Severity.MAJOR, numbers=case.numbers,
    )  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.id or f"{case.code} {i}" for i, case in enumerate(CASES)])
def test_patch(case, tmp_path):
    before, line = source_of(wrapped(case.before))
    path = tmp_path / "train.py"
    path.write_bytes(before)
    patch = patch_for(finding(case, str(path), line))
    if case.after is None:
        assert patch is None, patch.diff
        return
    assert patch is not None
    assert patch.after.decode() == plain(wrapped(case.after)).decode()
    assert path.read_bytes() == before  # nothing is written by asking
    compile(patch.after, "train.py", "exec")


def wrapped(text: str) -> str:
    """``return`` needs a function around it."""
    dedented = textwrap.dedent(text).strip("\n")
    if dedented.startswith("return"):
        return "def f():\n    " + dedented
    return dedented


def test_every_code_with_a_patch_is_tested():
    patched = {case.code for case in CASES if case.after is not None}
    assert patched == set(CHANGES)


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_everything_else_stays_byte_by_byte(tmp_path, ends):
    text = "# -*- coding: latin-1 -*-\n# Müller\nx  =  torch.sigmoid( a )   # odd  spaces\nz = [1,\n  2]\n"
    data = text.replace("\n", ends).encode("latin-1")
    path = tmp_path / "old.py"
    path.write_bytes(data)
    patch = patch_for(finding(Case("L305", "", ""), str(path), 3))
    assert patch is not None
    assert patch.after == data.replace(b"torch.sigmoid( a )", b"a")


def test_diff_is_read_by_git(tmp_path):
    (tmp_path / "train.py").write_text("a = 1\ny = torch.sigmoid(x)\n")
    patch = patch_for(finding(Case("L305", "", ""), "train.py", 2), root=tmp_path)
    assert patch is not None
    relative = type(patch)(path=patch.path.relative_to(tmp_path), before=patch.before, after=patch.after, title="")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, check=True, input=relative.diff.encode())
    assert (tmp_path / "train.py").read_bytes() == patch.after


def test_every_variant_that_a_patch_asks_for_is_said_by_its_rule() -> None:
    """A patch decides by ``Finding.variant``; one that no rule of its code yields would switch it off in silence."""
    from traindx.rules import catalogue

    asked = re.compile(r"finding\.variant != \"([a-z-]+)\"")
    for code, changes in CHANGES.items():
        deciders = (catalogue()[code], *catalogue()[code].others)
        said = " ".join(Path(decider.source).read_text(encoding="utf-8") for decider in deciders)
        for change in changes:
            for variant in asked.findall(inspect.getsource(change)):
                assert f'"{variant}"' in said, (code, change.__name__, variant)


def test_no_patch_reads_the_message() -> None:
    folder = Path(inspect.getfile(activations)).parent
    readers = [path.name for path in folder.glob("*.py") if "finding.message" in path.read_text(encoding="utf-8")]
    assert readers == []
