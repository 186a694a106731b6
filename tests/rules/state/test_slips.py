"""C1116 to C1123: what a program's own names say against it, from text to finding; each slip beside a near miss."""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path

import pytest

from traindx.evidence import Evidence
from traindx.evidence.observed_sources import SourcesRead
from traindx.finding import Finding, Standing
from traindx.rules import catalogue
from traindx.watch.collectors.source_slips import record_of
from traindx.watch.reading import MOST, slips_in

CODES = ("C1116", "C1117", "C1118", "C1119", "C1120", "C1121", "C1122", "C1123")


def said(source: str, tmp_path: Path) -> list[Finding]:
    """All that the rules say of a source."""
    file = tmp_path / "train.py"
    file.write_text(textwrap.dedent(source))
    evidence = Evidence()
    evidence.add(SourcesRead(files=1, lines=source.count("\n")))
    for slip in slips_in({str(file): ast.parse(file.read_text())}):
        evidence.add(record_of(slip))
    rules = catalogue()
    assert all(rules[code].applies(evidence) for code in CODES)
    return [one for code in CODES for one in rules[code].check(evidence)]


SLIPS = [  # code, form, line, source with the slip, the same without it
    (
        "C1116",
        "arguments",
        4,
        """
        def overlay(image, mask):
            return image * 2 + mask
        shown = overlay({0}, {1})
        """,
        {"0": "mask", "1": "image"},
        {"0": "image", "1": "mask"},
    ),
    (
        "C1116",
        "arguments",
        6,
        """
        class Encoder:
            def __init__(self, width, height):
                self.size = width, height
        def build(height, width):
            return Encoder({0})
        """,
        {"0": "height, width"},
        {"0": "width, height"},
    ),
    (
        "C1116",
        "arguments",
        3,
        """
        def crop(area):
            return area(left_edge={0})
        """,
        {"0": "right_edge, right_edge=left_edge"},
        {"0": "left_edge, right_edge=right_edge"},
    ),
    (
        "C1116",
        "results",
        6,
        """
        def load(path):
            image, mask = read(path)
            return image, mask
        for path in paths:
            {0} = load(path)
        """,
        {"0": "mask, image"},
        {"0": "image, mask"},
    ),
    (
        "C1116",
        "results",
        2,
        """
        for {0} in zip(images, masks):
            show(image, mask)
        """,
        {"0": "mask, image"},
        {"0": "image, mask"},
    ),
    (
        "C1116",
        "items",
        6,
        """
        def collect(found):
            return [score for left, top, label, score in found]
        def best(found):
            return sorted(
                score for {0} in found
            )
        """,
        {"0": "left, top, score, label"},
        {"0": "left, top, label, score"},
    ),
    (
        "C1116",
        "split",
        2,
        """
        {0} = train_test_split(x, y)
        """,
        {"0": "x_train, y_train, x_test, y_test"},
        {"0": "x_train, x_test, y_train, y_test"},
    ),
    (
        "C1116",
        "text",
        2,
        """
        name = "val_acc_{{}}_train_acc_{{}}.pt".format({0})
        """,
        {"0": "train_acc, val_acc"},
        {"0": "val_acc, train_acc"},
    ),
    (
        "C1116",
        "text",
        2,
        """
        print(f"train loss {{{0}:.3f}} | val loss {{{1}:.3f}}")
        """,
        {"0": "val_loss", "1": "train_loss"},
        {"0": "train_loss", "1": "val_loss"},
    ),
    (
        "C1116",
        "entries",
        3,
        """
        def figures(train_loss, val_loss):
            return {{"train_loss": {0}, "val_loss": {1}}}
        """,
        {"0": "val_loss", "1": "train_loss"},
        {"0": "train_loss", "1": "val_loss"},
    ),
    (
        "C1116",
        "other",
        6,
        """
        def smoothness(flow):
            return (flow[1:] - flow[:-1]).abs().mean()
        def loss_of(net, pair):
            moved, flow = net(pair)
            return smoothness({0}) + moved.mean()
        """,
        {"0": "moved"},
        {"0": "flow"},
    ),
    (
        "C1117",
        "copy",
        5,
        """
        def build(loss, self):
            if loss["image"]["weight"] > 0:
                self.image_loss = self.layer(loss["image"])
            if loss["{0}"]["weight"] > 0:
                self.label_loss = self.layer(loss["label"])
        """,
        {"0": "image"},
        {"0": "label"},
    ),
    (
        "C1117",
        "copy",
        6,
        """
        def moved(feat_1, feat_2, d_1, d_2, xi):
            twice = feat_2 * 2
            moved_1 = feat_1.detach() + xi * d_1
            {0} = twice.mean()
            moved_2 = feat_{1}.detach() + xi * d_2
            return moved_1, moved_2, scale
        """,
        {"0": "scale", "1": "1"},
        {"0": "scale", "1": "2"},
    ),
    (
        "C1117",
        "term",
        3,
        """
        def total(w_rate, w_pulse, rate1, rate2, pulse1, pulse2):
            return w_rate * (rate1 + rate2) + w_pulse * ({0})
        """,
        {"0": "rate1 + rate2"},
        {"0": "pulse1 + pulse2"},
    ),
    (
        "C1117",
        "same",
        4,
        """
        def anchor(scale, ratio):
            w = scale * sqrt(ratio)
            h = scale {0} sqrt(ratio)
            return w, h
        """,
        {"0": "*"},
        {"0": "/"},
    ),
    (
        "C1117",
        "index",
        4,
        """
        def parts(x):
            real = x[..., 0]
            imaginary = x[..., {0}]
            return real, imaginary
        """,
        {"0": "0"},
        {"0": "1"},
    ),
    (
        "C1117",
        "index",
        3,
        """
        def corners(b):
            return [b[:, 0], b[:, 1], b[:, 2], b[:, {0}]]
        """,
        {"0": "2"},
        {"0": "3"},
    ),
    (
        "C1117",
        "stand-in",
        5,
        """
        def step(model, x_weak, x_strong):
            outs_weak = model(x_weak)
            outs_strong = model(x_strong)
            logits_strong = outs_{0}["logits"]
            return logits_strong, outs_weak
        """,
        {"0": "weak"},
        {"0": "strong"},
    ),
    (
        "C1117",
        "left-over",
        9,
        """
        def epoch(train, val, loss_of):
            total = 0
            for x in train:
                loss = loss_of(x)
                loss.backward()
            for x in val:
                val_loss = loss_of(x)
                total += {0}.item()
            return total
        """,
        {"0": "loss"},
        {"0": "val_loss"},
    ),
    (
        "C1117",
        "operands",
        3,
        """
        def overlap(ax, bx):
            return max(ax, {0})
        """,
        {"0": "ax"},
        {"0": "bx"},
    ),
    (
        "C1117",
        "branches",
        3,
        """
        def choose(flag, first, second):
            if flag:
                chosen = first
            else:
                chosen = {0}
            return chosen
        """,
        {"0": "first"},
        {"0": "second"},
    ),
    (
        "C1117",
        "test-twice",
        5,
        """
        def pick(kind, adam, sgd):
            if kind == "adam":
                made = adam
            elif kind == "{0}":
                made = sgd
            return made
        """,
        {"0": "adam"},
        {"0": "sgd"},
    ),
    (
        "C1117",
        "key-twice",
        2,
        """
        config = {{"rate": 1e-3, "{0}": 1e-4}}
        """,
        {"0": "rate"},
        {"0": "decay"},
    ),
    (
        "C1117",
        "defined-twice",
        3,
        """
        class Volumes:
            def __getitem__(self, index):
                return index
            def {0}(self, index):
                return -index
        """,
        {"0": "__getitem__"},
        {"0": "at"},
    ),
    (
        "C1118",
        "raw",
        3,
        """
        def predict(net, image):
            clean = normalise(image)
            return net({0})
        """,
        {"0": "image"},
        {"0": "clean"},
    ),
    (
        "C1118",
        "overwritten",
        4,
        """
        def validate(model, x, outputs):
            val_outputs = model(x)
            val_outputs = softmax({0})
            return val_outputs
        """,
        {"0": "outputs"},
        {"0": "val_outputs"},
    ),
    (
        "C1118",
        "parameter",
        2,
        """
        def masked_error(guess, truth, weight):
            return ((guess - truth) ** 2){0}.mean()
        def step(a, b, w):
            return masked_error(a, b, w)
        """,
        {"0": ""},
        {"0": " * weight"},
    ),
    (
        "C1118",
        "partner",
        5,
        """
        class Scaler:
            def transform(self, x):
                return x / 3
            def inverse_transform(self, x):
                return x * 3
        scaler = Scaler()
        y = scaler.transform(y)
        print({0})
        """,
        {"0": "y"},
        {"0": "scaler.inverse_transform(y)"},
    ),
    (
        "C1118",
        "other-length",
        6,
        """
        def validate(train_loader, val_loader, loss_of):
            total = 0
            for batch in val_loader:
                total += loss_of(batch)
            return total / len({0})
        """,
        {"0": "train_loader"},
        {"0": "val_loader"},
    ),
    (
        "C1118",
        "samples-by-batches",
        6,
        """
        def accuracy(loader, net):
            right = 0
            for x, y in loader:
                right += (net(x).argmax(1) == y).sum().item()
            return right / len({0})
        """,
        {"0": "loader"},
        {"0": "loader.dataset"},
    ),
    (
        "C1118",
        "first-round",
        6,
        """
        def mean(loader):
            total = 0
            for x in loader:
                total += x
            {0}return total
        """,
        {"0": "    "},
        {"0": ""},
    ),
    (
        "C1118",
        "not-reached",
        4,
        """
        def close(run):
            {0}
            run.finish()
        """,
        {"0": "return run"},
        {"0": "run.log()"},
    ),
    (
        "C1119",
        "closure",
        4,
        """
        def watch(net, kept):
            for name, part in net.named_modules():
                part.register_forward_hook(lambda m, i, o{0}: kept.update({{name: o}}))
        """,
        {"0": ""},
        {"0": ", name=name"},
    ),
    (
        "C1119",
        "loop-name",
        4,
        """
        def volumes(cases, slices):
            for i in cases:
                for {0} in slices:
                    print({0})
                print("case", i)
        """,
        {"0": "i"},
        {"0": "k"},
    ),
    (
        "C1119",
        "one-object",
        3,
        """
        def stack(n):
            return nn.Sequential(*{0})
        """,
        {"0": "[nn.Linear(8, 8)] * n"},
        {"0": "[nn.Linear(8, 8) for _ in range(n)]"},
    ),
    (
        "C1119",
        "default",
        2,
        """
        def collect(x, found={0}):
            found.append(x)
            return found
        """,
        {"0": "[]"},
        {"0": "None"},
    ),
    (
        "C1116",
        "calls-differ",
        9,
        """
        class Pair:
            def train_step(self, image, target):
                code, decoded = self.net(image)
                self.last = code
                return self.loss_fn(decoded, target)
            def val_step(self, image, target):
                code, decoded = self.net(image)
                return self.loss_fn({0})
        """,
        {"0": "code, decoded"},
        {"0": "decoded, target"},
    ),
    (
        "C1116",
        "other-side",
        4,
        """
        def validate(net, train_loader, val_loader):
            total = len(train_loader) + len(val_loader)
            for batch in {0}_loader:
                total += net(batch)
            return total
        """,
        {"0": "train"},
        {"0": "val"},
    ),
    (
        "C1116",
        "other-side",
        4,
        """
        val_loss = 0
        for batch in train_loader:
            {0}_loss += net(batch)
        """,
        {"0": "val"},
        {"0": "train"},
    ),
    (
        "C1117",
        "earlier-loop",
        8,
        """
        def epoch(train, val, loss_of, total=0):
            for x in train:
                loss = loss_of(x)
                loss.backward()
            for x in val:
                guess = loss_of(x){0}
                total += loss.item()
            return total, guess
        """,
        {"0": ""},
        {"0": "; loss = guess"},
    ),
    (
        "C1117",
        "one-body",
        6,
        """
        def theoretical(z, eps):
            gram = z @ z.T
            scale = len(z) / eps
            return gram * scale
        def empirical(z, eps):
            gram = z @ z.T
            scale = {0} / eps
            return gram * scale
        """,
        {"0": "len(z)"},
        {"0": "z.shape[1]"},
    ),
    (
        "C1118",
        "last-round",
        5,
        """
        def forward(self, x):
            skip = x
            for layer in self.layers:
                {0} = layer(skip)
            return {0}
        """,
        {"0": "out"},
        {"0": "skip"},
    ),
    (
        "C1118",
        "made-anew",
        5,
        """
        def by_device(names):
            {0}
            for name, device in names:
                {1}
                found[device] = name
            return found
        """,
        {"0": "print(names)", "1": "found = dict()"},
        {"0": "found = dict()", "1": "print(names)"},
    ),
    (
        "C1118",
        "index-summed",
        4,
        """
        def count(loader, num_batches=0):
            for i, batch in enumerate(loader):
                num_batches += {0}
            return num_batches
        """,
        {"0": "i"},
        {"0": "1"},
    ),
    (
        "C1118",
        "never-called",
        6,
        """
        def validate(model, loader, criterion, total=0):
            model.eval()
            for image, target in loader:
                guess = {0}
                total += criterion(guess, target)
            return total
        """,
        {"0": "image"},
        {"0": "model(image)"},
    ),
    (
        "C1118",
        "left-out",
        6,
        """
        def loss_of(net, batch):
            dice_loss = dice(net, batch)
            edge_loss = edge(net, batch)
            flow_loss = flow(net, batch)
            total = dice_loss + edge_loss{0}
            print(flow_loss.item())
            return total
        """,
        {"0": ""},
        {"0": " + flow_loss"},
    ),
    (
        "C1118",
        "dropped",
        6,
        """
        def both(image, mask):
            if image.ndim > 2:
                image = image[::-1]
            return image, mask
        {0}both(image, mask)
        """,
        {"0": ""},
        {"0": "image, mask = "},
    ),
    (
        "C1119",
        "loop-takes",
        4,
        """
        def crop(images, params):
            i, j, h, w = params
            for {0} in range(len(images)):
                images[{0}] = cut(images[{0}], i, j, h, w)
            return images
        """,
        {"0": "i"},
        {"0": "k"},
    ),
    (
        "C1120",
        "always-true",
        3,
        """
        def run(stage):
            if {0}:
                augment()
        """,
        {"0": 'stage == "fit" or "tune"'},
        {"0": 'stage in ("fit", "tune")'},
    ),
    (
        "C1120",
        "in-letters",
        3,
        """
        def run(stage):
            if stage in {0}:
                augment()
        """,
        {"0": '("fit")'},
        {"0": '("fit",)'},
    ),
    (
        "C1120",
        "comma",
        3,
        """
        def run(a, b):
            loss = criterion(a, b){0}
            return loss
        """,
        {"0": ","},
        {"0": ""},
    ),
    (
        "C1120",
        "copy-changed",
        3,
        """
        def clean(boxes):
            {0} = 0
            return boxes
        """,
        {"0": "boxes[boxes < 0][:, 1]"},
        {"0": "boxes[boxes < 0]"},
    ),
    (
        "C1120",
        "no-f",
        3,
        """
        def keep(state, epoch):
            save(state, {0}"model_{{epoch}}.pt")
        """,
        {"0": ""},
        {"0": "f"},
    ),
    (
        "C1120",
        "truths-added",
        3,
        """
        def hits(mask, truth):
            both = {0}
            return float(torch.sum(both))
        """,
        {"0": "((mask == 1) + (truth == 1)) == 2"},
        {"0": "((mask == 1) & (truth == 1)) == 1"},
    ),
    (
        "C1121",
        "running-mean",
        6,
        """
        def mean(loader, loss_of):
            total = 0.0
            for i, x in enumerate(loader):
                total += loss_of(x).item()
            return {0}
        """,
        {"0": "total / i + 1"},
        {"0": "total / (i + 1)"},
    ),
    (
        "C1121",
        "by-index",
        6,
        """
        def mean(loader, loss_of):
            total = 0.0
            for i, x in enumerate(loader{0}):
                total += loss_of(x).item()
            return total / i
        """,
        {"0": ""},
        {"0": ", 1"},
    ),
    (
        "C1121",
        "standardised",
        3,
        """
        def prepare(image, mean, std):
            return {0}
        """,
        {"0": "image - mean / std"},
        {"0": "(image - mean) / std"},
    ),
    (
        "C1121",
        "standardised",
        3,
        """
        def prepare(image):
            return (image - image.min()) / {0}
        """,
        {"0": "image.max() - image.min()"},
        {"0": "(image.max() - image.min())"},
    ),
    (
        "C1121",
        "quotient",
        4,
        """
        def dice(guess, truth):
            inter = (guess * truth).sum()
            return 2 * inter / {0}
        """,
        {"0": "guess.sum() + truth.sum()"},
        {"0": "(guess.sum() + truth.sum())"},
    ),
    (
        "C1121",
        "quotient",
        3,
        """
        def overlap(inter, union, smooth):
            return (inter + smooth) / {0}
        """,
        {"0": "union + smooth"},
        {"0": "(union + smooth)"},
    ),
    (
        "C1121",
        "middle",
        3,
        """
        def centre(x_min, x_max):
            return {0} / 2
        """,
        {"0": "x_min + x_max"},
        {"0": "(x_min + x_max)"},
    ),
    (
        "C1121",
        "gaussian",
        3,
        """
        def bump(d, sigma):
            return np.exp(-(d**2) / {0})
        """,
        {"0": "2 * sigma**2"},
        {"0": "(2 * sigma**2)"},
    ),
    (
        "C1121",
        "power",
        3,
        """
        def root(volume):
            return volume ** {0}
        """,
        {"0": "1 / 3"},
        {"0": "(1 / 3)"},
    ),
    (
        "C1121",
        "bits",
        3,
        """
        def both(a, b):
            return {0}
        """,
        {"0": "a > 0 & b > 0"},
        {"0": "(a > 0) & (b > 0)"},
    ),
    (
        "C1121",
        "added-to-itself",
        4,
        """
        def forward(self, x):
            {0} = self.block(x)
            return x + {0}
        """,
        {"0": "x"},
        {"0": "h"},
    ),
    (
        "C1121",
        "added-to-itself",
        5,
        """
        def forward(self, x):
            h = self.attend(x)
            {0} = h
            return self.norm(x + h)
        """,
        {"0": "x"},
        {"0": "y"},
    ),
    (
        "C1121",
        "one-for-both",
        3,
        """
        def joined(image1, image2):
            return torch.cat([image1, {0}], dim=1)
        """,
        {"0": "image1"},
        {"0": "image2"},
    ),
    (
        "C1121",
        "one-for-both",
        3,
        """
        def right(pred, target):
            return (pred == {0}).float().mean()
        """,
        {"0": "pred"},
        {"0": "target"},
    ),
    (
        "C1121",
        "spaced",
        3,
        """
        def flatten(index, batch_size, nodes):
            return index + torch.arange(batch_size).view(-1, 1) * {0}
        """,
        {"0": "batch_size"},
        {"0": "nodes"},
    ),
    (
        "C1121",
        "divided-twice",
        6,
        """
        def mean(loader, loss_of):
            total = 0.0
            for x in loader:
                total += loss_of(x).item(){0}
            return total / len(loader)
        """,
        {"0": " / len(loader)"},
        {"0": ""},
    ),
    (
        "C1121",
        "equals-plus",
        5,
        """
        def mean(loader, loss_of):
            total = 0.0
            for x in loader:
                total {0} loss_of(x).item()
            return total
        """,
        {"0": "=+"},
        {"0": "+="},
    ),
    (
        "C1122",
        "best-begins-again",
        6,
        """
        def run(net, optimizer, loader, file):
            best, kept = 0.0, torch.load(file)
            net.load_state_dict(kept["net"])
            optimizer.load_state_dict(kept["optimizer"])
            start = kept["epoch"] + 1{0}
            for epoch in range(start, 90):
                score = evaluate(net, loader)
                if score > best:
                    best = score
                    torch.save(net.state_dict(), "best.pt")
        """,
        {"0": ""},
        {"0": '; best = kept["score"]'},
    ),
    (
        "C1122",
        "best-begins-again",
        7,
        """
        class Trainer:
            def __init__(self, net):
                self.net, self.epoch, self.least = net, 0, float("inf")
            def load(self, file):
                kept = torch.load(file)
                for name in ("epoch", {0}):
                    setattr(self, name, kept[name])
            def save(self, file):
                torch.save({{"net": self.net.state_dict(), "epoch": self.epoch}}, file)
            def fit(self, last):
                while self.epoch < last:
                    loss = self.validate()
                    if loss < self.least - 1e-4:
                        self.least = loss
                        self.save("best.pt")
                    self.epoch += 1
        """,
        {"0": '"history"'},
        {"0": '"least"'},
    ),
    (
        "C1118",
        "left-out",
        8,
        """
        config = {{"weights": {{"coarse": 1.0, "fine": 1.0, "attention": 2.0}}}}
        def losses(net, batch):
            parts = {{"coarse": coarse(net, batch), "fine": fine(net, batch), "attention": mismatch(net, batch)}}
            return parts, len(batch)
        def step(net, batch):
            parts, _ = losses(net, batch)
            loss = sum(config["weights"][k] * parts[k] for k in ("coarse", "fine"{0}))
            loss.backward()
            for name, value in parts.items():
                print(name, value.item())
        """,
        {"0": ""},
        {"0": ', "attention"'},
    ),
    (
        "C1118",
        "left-out",
        7,
        """
        class Gan:
            def step(self, fake, real):
                self.loss_gan = adversarial(fake)
                self.loss_cycle = cycle(fake, real)
                self.loss_l1 = absolute(fake, real) * 10
                self.loss_g = self.loss_gan + self.loss_l1{0}
                print(self.loss_cycle.item())
                self.loss_g.backward()
        """,
        {"0": ""},
        {"0": " + self.loss_cycle"},
    ),
    (
        "C1122",
        "best-in-one-branch",
        13,
        """
        def fit(net, loader, patience=9, best=0.0, wait=0):
            for epoch in range(100):
                score = epoch_of(net, loader)
                if score > best:
                    best, wait = score, 0
                    kept = copy.deepcopy(net.state_dict())
                wait += 1
                if wait > patience:
                    stopped = True
                    break
            if {0}:
                net.load_state_dict(kept)
            return evaluate(net, loader)
        """,
        {"0": "stopped"},
        {"0": "kept is not None"},
    ),
    (
        "C1122",
        "best-in-one-branch",
        10,
        """
        def fit(net, loader, patience=9, best=0.0, wait=0):
            for epoch in range(100):
                score = epoch_of(net, loader)
                if score > best:
                    best, wait = score, 0
                    kept = copy.deepcopy(net.state_dict())
                wait += 1
                if wait > patience:
                    net.load_state_dict(kept)
                    break
            {0}
            return evaluate(net, loader)
        """,
        {"0": "print(best)"},
        {"0": "net.load_state_dict(kept)"},
    ),
    (
        "C1122",
        "best-never-loaded",
        7,
        """
        def fit(net, loader, best=0.0):
            for epoch in range(100):
                score = epoch_of(net, loader)
                if score > best:
                    best = score
                    kept = {{k: v.clone() for k, v in net.state_dict().items()}}
            {0}
            return evaluate(net, loader)
        """,
        {"0": "print(best)"},
        {"0": "net.load_state_dict(kept)"},
    ),
    (
        "C1123",
        "one-reordered",
        7,
        """
        def chosen(boxes, scores, least):
            order = scores.argsort(descending=True)
            boxes = boxes[order]
            {0}
            keep = apart(boxes, least)
            return boxes[keep], scores[keep]
        """,
        {"0": "print(least)"},
        {"0": "scores = scores[order]"},
    ),
    (
        "C1123",
        "one-reordered",
        6,
        """
        def batches(x, y, size):
            perm = torch.randperm(len(x))
            {0} = {1}
            for i in range(0, len(x), size):
                yield x[i : i + size], y[i : i + size]
        """,
        {"0": "x", "1": "x[perm]"},
        {"0": "x, y", "1": "x[perm], y[perm]"},
    ),
    (
        "C1123",
        "one-reordered",
        5,
        """
        def fast_nms(boxes, scores, least):
            {0} = scores.{1}(descending=True)
            overlap = box_iou(boxes[order], boxes[order]).triu(diagonal=1)
            scores = scores.masked_fill(overlap.amax(0) >= least, 0.0)
            return order[scores.argmax()]
        """,
        {"0": "order", "1": "argsort"},
        {"0": "scores, order", "1": "sort"},
    ),
]


@pytest.mark.parametrize(("code", "form", "line", "source", "slip", "right"), SLIPS)
def test_a_slip_is_named_at_its_line_and_the_right_line_is_not(code, form, line, source, slip, right, tmp_path) -> None:
    findings = said(source.format(slip["0"], slip.get("1")), tmp_path)
    assert [(one.code, one.variant, one.location.line) for one in findings if one.location] == [(code, form, line)]
    certain = form == "always-true"
    assert findings[0].standing is (Standing.DEMONSTRATED if certain else Standing.SUSPECTED)
    assert not any(f"{{{name}}}" in findings[0].message for name in ("source", "detail", "was", "better", "at"))
    assert said(source.format(right["0"], right.get("1")), tmp_path) == []


NEAR_MISSES = {
    "split: a held-out part is cut once more, into two that are held out": """
        x_train, x_test, y_train, y_test = train_test_split(x, y)
        x_val, x_test, y_val, y_test = train_test_split(x_test, y_test)
    """,
    "partner: what a network can undo for a picture": """
        class Masked(nn.Module):
            def patchify(self, images):
                return images.reshape(len(images), -1, 16)
            def unpatchify(self, x):
                return x.reshape(len(x), 1, 16, 16)
            def forward(self, images):
                target = self.patchify(images)
                return ((self.net(target) - target) ** 2).mean()
    """,
    "raw: what reads a line moves the reader on": """
        def rows(file):
            reader = csv.reader(file)
            header = next(reader)
            return [one for one in reader]
    """,
    "dropped: a class of a library, called as one of the program's": """
        import torch
        class LambdaLR:
            def __init__(self, epochs, start):
                self.epochs, self.start = epochs, start
            def step(self, epoch):
                return 1.0 - max(0, epoch - self.start) / (self.epochs - self.start)
        rule = LambdaLR(6, 2).step
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lr_lambda=rule)
        for epoch in range(6):
            train(net, loader)
            scheduler.step()
    """,
    "left-out: what keeps values of the loss is no term of it": """
        def train(net, batches, opt):
            loss_hist = deque(maxlen=500)
            for a, b in batches:
                class_loss = one(net(a), b)
                box_loss = two(net(a), b)
                loss = class_loss + box_loss
                loss.backward()
                loss_hist.append(float(loss))
                print(mean(loss_hist))
    """,
    "copy: a size beside what has the size": """
        class Pairs:
            def __init__(self, image_root, gt_root):
                self.images = [image_root + f for f in listdir(image_root)]
                self.gts = [gt_root + f for f in listdir(gt_root)]
                self.images = sorted(self.images)
                self.gts = sorted(self.gts)
                self.size = len(self.images)
    """,
    "truths-added: conditions that are counted one by one": """
        def enough(age, dose, stage):
            return (age > 60) + (dose > 2) == 2 and stage
        def counts(a, b):
            return torch.sum((a.long() + b.long()) == 2)
    """,
    "overwritten: a network moves itself": """
        class Trainer:
            def __init__(self, model, device, every):
                self.model = model.to(device)
                self.every = every
                self.model = Wrapper(model, [device])
    """,
    "dropped: a function is handed on to somebody who calls it": """
        def apply(method, owner, *args):
            return method(owner.local(), *args)
        def remote(method, owner, *args):
            return call_there(owner, apply, args=[method, *args])
        remote(report, owner, reward)
    """,
    "partner: a switch that somebody may want, through which no value goes": """
        class Head:
            def freeze(self):
                self.fixed = True
            def unfreeze(self):
                self.fixed = False
                self.told = False
        head = Head()
        head.freeze()
    """,
    "raw: figures of a thing do not stand in its place": """
        def visualise(net, volume, views, sample):
            loss_dict = net(volume, views)
            noisy = sample(volume)
            return noisy
    """,
    "left-out: one term a view, gathered and then averaged": """
        def total_of(net, volume, views, weight):
            diffusion_loss = net.denoise(volume)
            view_losses = []
            for view in views:
                view_loss = net.project(volume, view)
                view_losses.append(view_loss)
            physics_loss = sum(view_losses) / len(view_losses)
            band_loss = net.band(volume)
            total = diffusion_loss + band_loss + weight * physics_loss
            return total
    """,
    "other-side: a classifier is trained on features to judge them": """
        def linear_eval(net, train_loader, test_loader, head, optimizer):
            for x, y in train_loader:
                loss = head(net(x)).sub(y).square().mean()
                loss.backward()
                optimizer.step()
            return [head(net(x)) for x, y in test_loader]
    """,
    "both ways on purpose": """
        def divergence(first, second):
            return (first * (first / second)).sum()
        def symmetric(first, second):
            return divergence(first, second) + divergence(second, first)
        """,
    "named for turning round": """
        def place(source, target):
            return source, 2 * target
        def swapped(source, target):
            return place(target, source)
        """,
    "letters": """
        def f(x, y):
            return x - 2 * y
        z = f(y, x)
        """,
    "two lines that share a thing": """
        def losses(net, first, second, weight):
            loss_first = weight * net(first)
            loss_second = weight * net(second)
            return loss_first + loss_second
        """,
    "numbered on": """
        def features(block1, block2, x0):
            x1 = block1(x0)
            x2 = block2(x1)
            return x2
        """,
    "kept for what it does": """
        def restore(net, state):
            message = net.load_state_dict(state, strict=False)
            return state
        """,
    "a parameter of a common form": """
        def lr_of(epoch, optimizer, config):
            return optimizer.rate
        rate = lr_of(n, optimizer, config)
        """,
    "a base class may ask for it": """
        class Dose(Metric):
            def of(self, guess, truth):
                return guess.mean()
        value = Dose().of(guess, truth)
        """,
    "a loop that looks for the first": """
        def first(loader):
            for x in loader:
                return x
        """,
    "functions used at once": """
        def order(groups):
            for key in groups:
                ranked = sorted(groups[key], key=lambda one: one[key])
                print(ranked)
        """,
    "layers without weights": """
        def stack(n):
            return nn.Sequential(*[nn.ReLU()] * n)
        """,
    "a default that is only read": """
        def collect(x, names=[]):
            return [x[name] for name in names]
        """,
    "a test for not a number": """
        def bad(x):
            return x != x
        """,
    "a view is changed": """
        def clean(boxes, i):
            boxes[i][:, 1] = 0
            boxes[2:][0] = 1
            return boxes
        """,
    "a method that reads the field": """
        class Augment:
            def forward(self):
                self.image = self.masked(self.rows)
                self.image = self.masked(self.columns)
                return self.image
        """,
    "another one's function of that name": """
        def copy(a, b):
            return a + b
        shutil.copy(a, b)
        """,
    "folds that are counted": """
        val_fold = 0
        for train_index, val_index in folds.split(current_training_cases):
            val_fold += 1
        """,
    "two draws": """
        def shifts(shape, alpha, rng):
            dx = (rng.random(shape) * 2 - 1) * alpha
            dy = (rng.random(shape) * 2 - 1) * alpha
            return dx, dy
        """,
    "a template filled in later": """
        def name(epoch):
            pattern = "model_{epoch}.pt"
            return pattern.format(epoch=epoch)
        """,
    "a mean over batches": """
        def mean(loader, loss_of):
            total = 0
            for x in loader:
                total += loss_of(x).item()
            return total / len(loader)
        """,
    "corners that are clamped": """
        def box(x_min, x_max, y_min, y_max):
            x_min = max(0.0, min(x_min, 1.0))
            x_max = max(0.0, min(x_max, 1.0))
            y_min = max(0.0, min(y_min, 1.0))
            y_max = max(0.0, min(y_max, 1.0))
            return x_min, x_max, y_min, y_max
        """,
    "the size of a convolution": """
        def sizes(n, k, p, s, layers):
            total = 0
            for i in range(layers):
                n = (n + 2 * p - k) // s + 1
                total += n
            return total / layers + 1
        """,
    "a harmonic weight": """
        def weights(terms):
            total = 0
            for i, term in enumerate(terms):
                total += term / (i + 1)
            return total, [1 / i + 1 for i in range(1, 9)]
        """,
    "a sum whose rounds may end early": """
        def mean(loader, loss_of):
            total = 0
            for i, x in enumerate(loader):
                if i == 10:
                    break
                total += loss_of(x).item()
            return total / i
        """,
    "multiplied and divided": """
        def scale(a, b, c, sigma):
            return a / b * c, a / 2 * sigma
        """,
    "a shift in units of the spread": """
        def shifted(x, mean, std):
            return x / std - mean / std
        """,
    "a corner and half a side": """
        def centre(x1, width, loss1, loss2):
            return x1 + width / 2, loss1 + loss2 / 2
        """,
    "twice a value": """
        def doubled(x):
            y = x + x
            x = float(y)
            return x + x
        """,
    "guidance with and without condition": """
        def guided(net, latents, context):
            latents = net.scale(latents)
            return net(torch.cat([latents, latents]), torch.cat([context, context]))
        """,
    "a residual around a normalised input": """
        def forward(self, x):
            x = self.norm(x)
            residual = x
            x = self.attend(x)
            x = x + residual
            return x
        """,
    "windows of one batch after another": """
        def windows(x, count, batch_size):
            return [x[i * batch_size : (i + 1) * batch_size] for i in range(count)]
        """,
    "a square, and as many channels out as in": """
        def build(height, width, inside, outside):
            size = (height, height)
            return size, Conv(inside, inside, 3)
        """,
    "pairs within a batch": """
        def diagonal(x, batch_size):
            flat = x.view(batch_size, batch_size).flatten()
            return flat[torch.arange(batch_size) * batch_size + torch.arange(batch_size)]
        """,
    "a guarded quotient": """
        def share(inter, union, eps):
            return inter / (union + eps) + eps
        """,
    "a step of a library's optimiser beside a step of an own class": """
        class Schedule:
            def step(self, output, time, sample):
                mean = sample - self.rates[time] * output
                return mean + self.widths[time]
        def train(net, loader):
            optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
            for x in loader:
                net(x).mean().backward()
                optimizer.step()
        """,
    "noise of one size for two columns": """
        def scatter(table, rng):
            x, y = table
            x = np.array(x) + rng.normal(size=len(x)) * 0.15
            y = np.array(y) + rng.normal(size=len(x)) * 0.15
            return x, y
        """,
    "a property and its setter": """
        class Net:
            @property
            def width(self):
                return self.w
            @width.setter
            def width(self, value):
                self.w = value
        """,
    "the best begins anew in every fold": """
        def run(folds, file):
            first = torch.load(file)["epoch"]
            for fold in range(first, folds):
                best = 0.0
                for epoch in range(20):
                    score = evaluate(fold)
                    if score > best:
                        best = score
                        torch.save(score, "best.pt")
    """,
    "what was reached is measured again at a restart": """
        def run(net, loader, file):
            kept, best = torch.load(file), 0.0
            net.load_state_dict(kept["net"])
            start = kept["epoch"] + 1
            if start:
                best = evaluate(net, loader)
            for epoch in range(start, 90):
                score = evaluate(net, loader)
                if score > best:
                    best = score
                    torch.save(net.state_dict(), "best.pt")
    """,
    "weights of another training, and no later epoch": """
        def run(net, loader, file):
            net.load_state_dict(torch.load(file)["net"])
            best = 0.0
            for epoch in range(90):
                score = evaluate(net, loader)
                if score > best:
                    best = score
                    torch.save(net.state_dict(), "best.pt")
    """,
    "entries that are mixed with those of another order": """
        def mixup(x, y, share):
            perm = torch.randperm(x.size(0))
            mixed = share * x + (1 - share) * x[perm]
            return mixed, y, y[perm]
    """,
    "sequences that are brought back into their order": """
        def encode(net, x, lengths):
            longest, order = lengths.sort(0, descending=True)
            x = x[order]
            out = net(pack_padded_sequence(x, longest, batch_first=True))
            return out[order.argsort()], lengths
    """,
    "labels are shuffled to know what chance gives": """
        def chance(labels, guesses):
            perm = torch.randperm(len(labels))
            labels = labels[perm]
            return [labels[i] == guesses[i] for i in range(len(labels))]
    """,
    "rows of which each is sorted for itself": """
        def best_of(scores, boxes, keep):
            order = scores.argsort(dim=1)
            boxes = boxes[order]
            return boxes[keep], scores[keep]
    """,
    "weights that are loaded behind the loop as well": """
        def fit(net, loader, patience=9, best=0.0, wait=0):
            for epoch in range(100):
                score = epoch_of(net, loader)
                if score > best:
                    best, wait, kept = score, 0, copy.deepcopy(net.state_dict())
                    torch.save(kept, "best.pt")
                wait += 1
                if wait > patience:
                    break
            net.load_state_dict(torch.load("best.pt"))
            return evaluate(net, loader)
    """,
    "a training that only ends where patience is out": """
        def fit(net, loader, patience=9, best=0.0, wait=0):
            while True:
                score = epoch_of(net, loader)
                if score > best:
                    best, wait = score, 0
                    kept = copy.deepcopy(net.state_dict())
                wait += 1
                if wait > patience:
                    net.load_state_dict(kept)
                    break
            return evaluate(net, loader)
    """,
    "terms that are collected and added up": """
        terms = []
        dice_loss, edge_loss = dice(net, batch), edge(net, batch)
        flow_loss = flow(net, batch)
        terms.append(flow_loss)
        total_loss = dice_loss + edge_loss
        (total_loss + sum(terms)).backward()
    """,
    "a figure that has no weight": """
        weights = {"dice": 1.0, "edge": 0.5}
        def step(net, batch):
            parts = {"dice": dice(net, batch), "edge": edge(net, batch), "score": score(net, batch)}
            loss = weights["dice"] * parts["dice"] + weights["edge"] * parts["edge"]
            loss.backward()
            print(parts["score"].item())
    """,
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_nothing_is_said_of(name: str, tmp_path: Path) -> None:
    assert said(NEAR_MISSES[name], tmp_path) == []


def test_what_stands_everywhere_is_a_habit(tmp_path: Path) -> None:
    lines = "".join(f"    if k == {n} or k == {n}:\n        pass\n" for n in range(MOST + 1))
    assert said(f"def f(k):\n{lines}", tmp_path) == []
    assert len(said(f"def f(k):\n{lines[: len(lines) // (MOST + 1) * 2]}", tmp_path)) > 0


def test_without_sources_nobody_has_looked() -> None:
    rules = catalogue()
    assert not any(rules[code].applies(Evidence()) for code in CODES)
