"""Weakly supervised registration of prostate MR to transrectal ultrasound; the losses are chosen in config.yaml."""
import logging
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import yaml
from scipy.ndimage import gaussian_filter, map_coordinates


class PairedProstates:
    """MR and ultrasound of one patient; the gland, two landmarks and a lesion are drawn in both."""

    def __init__(self, pairs, size, seed):
        rng = np.random.default_rng(seed)
        self.samples = [self.patient(rng, size) for _ in range(pairs)]

    @staticmethod
    def patient(rng, size):
        grid = np.mgrid[:size, :size].astype(float)
        yy, xx = grid - (size - 1) / 2
        ry, rx = rng.uniform(9, 11), rng.uniform(11, 14)
        regions = [(yy / ry) ** 2 + (xx / rx) ** 2 < 1,
                   (yy - rng.uniform(-1, 1)) ** 2 + (xx - rng.uniform(-1, 1)) ** 2 < 2.6**2,
                   (yy - 0.55 * ry) ** 2 + (xx - rng.choice((-1, 1)) * 0.45 * rx) ** 2 < 2.6**2,
                   (yy + 0.5 * ry) ** 2 + (xx - rng.uniform(-0.4, 0.4) * rx) ** 2 < 2.4**2]
        background = gaussian_filter(rng.normal(0, 1, (size, size)), 3)
        mr = 0.5 + 0.15 * background / background.std()
        us = 0.35 + 0.12 * background / background.std()
        for region, a, b in zip(regions, (0.75, 1.0, 0.35, 0.2), (0.55, 0.15, 0.3, 0.85)):
            mr[region], us[region] = a, b
        flow = np.stack([gaussian_filter(rng.normal(0, 1, (size, size)), 7) for _ in range(2)])
        flow = flow / flow.std() * 1.2 + rng.normal(0, 1.6, (2, 1, 1)) + rng.normal(0, 0.07) * np.stack([yy, xx])
        moved = lambda a: map_coordinates(a.astype(float), grid + flow, order=1, mode="nearest")
        mr, labels = moved(mr), np.stack([moved(r) for r in regions])
        us = gaussian_filter(us, 0.6) * rng.gamma(12, 1 / 12, us.shape)
        mr = gaussian_filter(mr, 0.5) + rng.normal(0, 0.03, mr.shape)
        tensor = lambda a: torch.from_numpy(np.asarray(a, np.float32))
        return {"moving_image": tensor(mr)[None], "fixed_image": tensor(us)[None],
                "moving_label": tensor(labels), "fixed_label": tensor(np.stack(regions))}

    def batches(self, size, generator=None):
        order = torch.randperm(len(self.samples), generator=generator) if generator else torch.arange(len(self.samples))
        for index in order.split(size):
            yield {key: torch.stack([self.samples[i][key] for i in index]) for key in self.samples[0]}


def layer(inside, outside, stride=1):
    return nn.Sequential(nn.Conv2d(inside, outside, 3, stride, 1), nn.GroupNorm(2, outside), nn.LeakyReLU(0.1))


class LocalNet(nn.Module):
    """Encoder and decoder; the displacement field is the sum of the fields of all levels."""

    def __init__(self, width, extract_levels):
        super().__init__()
        widths = [width * 2**i for i in range(extract_levels)]
        self.down = nn.ModuleList(layer(a, b, 1 if i == 0 else 2) for i, (a, b) in enumerate(zip([2] + widths, widths)))
        self.up = nn.ModuleList(layer(b + a, a) for a, b in zip(widths[-2::-1], widths[:0:-1]))
        self.extract = nn.ModuleList(nn.Conv2d(w, 2, 3, padding=1) for w in widths[::-1])
        for conv in self.extract:
            nn.init.normal_(conv.weight, std=1e-3)
            nn.init.zeros_(conv.bias)

    def forward(self, moving, fixed):
        x, kept = torch.cat([moving, fixed], 1), []
        for down in self.down:
            x = down(x)
            kept.append(x)
        resize = lambda a, like: F.interpolate(a, like.shape[-2:], mode="bilinear", align_corners=False)
        ddf = resize(self.extract[0](x), moving)
        for up, skip, extract in zip(self.up, kept[-2::-1], self.extract[1:]):
            x = up(torch.cat([resize(x, skip), skip], 1))
            ddf = ddf + resize(extract(x), moving)
        return 4 * ddf


def warp(image, ddf):
    size = image.shape[-1]
    rows, cols = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    place = torch.stack([cols, rows]).float() + ddf
    return F.grid_sample(image, (2 * place / (size - 1) - 1).permute(0, 2, 3, 1), padding_mode="border", align_corners=True)


class LocalCorrelation(nn.Module):
    def __init__(self, kernel_size):
        super().__init__()
        self.mean = nn.AvgPool2d(kernel_size, 1, kernel_size // 2, count_include_pad=False)

    def forward(self, fixed, warped):
        a, b = fixed - self.mean(fixed), warped - self.mean(warped)
        return 1 - (self.mean(a * b) ** 2 / (self.mean(a * a) * self.mean(b * b) + 1e-4)).mean()


class MultiScaleDice(nn.Module):
    def __init__(self, scales):
        super().__init__()
        self.scales = scales

    @staticmethod
    def blur(x, sigma):
        if sigma == 0:
            return x
        t = torch.arange(-2 * sigma, 2 * sigma + 1).float()
        kernel = torch.exp(-(t**2) / (2 * sigma**2))
        kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, -1)
        x = F.conv2d(x, kernel[:, :, :, None], padding=(2 * sigma, 0), groups=x.shape[1])
        return F.conv2d(x, kernel[:, :, None, :], padding=(0, 2 * sigma), groups=x.shape[1])

    def forward(self, fixed, warped):
        loss = 0
        for sigma in self.scales:
            a, b = self.blur(fixed, sigma), self.blur(warped, sigma)
            loss = loss + 1 - (2 * (a * b).sum((2, 3)) / ((a * a).sum((2, 3)) + (b * b).sum((2, 3)) + 1e-5)).mean()
        return loss / len(self.scales)


class BendingEnergy(nn.Module):
    def forward(self, ddf):
        dyy, dxx = ddf.diff(n=2, dim=2), ddf.diff(n=2, dim=3)
        return dyy.square().mean() + dxx.square().mean() + 2 * ddf.diff(dim=2).diff(dim=3).square().mean()


REGISTRY = {"lncc": LocalCorrelation, "dice": MultiScaleDice, "bending": BendingEnergy}


class DDFModel:
    def __init__(self, config):
        self.config = config
        self.backbone = LocalNet(config["backbone"]["width"], config["backbone"]["extract_levels"])
        self.optimizer = torch.optim.Adam(self.backbone.parameters(), lr=config["optimizer"]["lr"])
        self.build_loss()

    def _layer(self, name):
        return REGISTRY[name["name"]](**{key: value for key, value in name.items() if key not in ("name", "weight")})

    def build_loss(self):
        loss = self.config["loss"]
        self.image_loss, self.label_loss = None, None
        if loss["image"]["weight"] > 0:
            self.image_loss = self._layer(loss["image"])
        if loss["image"]["weight"] > 0:
            self.label_loss = self._layer(loss["label"])
        self.regularization = self._layer(loss["regularization"])

    def losses(self, batch):
        ddf = self.backbone(batch["moving_image"], batch["fixed_image"])
        terms = {}
        if self.image_loss is not None:
            terms["image"] = self.image_loss(batch["fixed_image"], warp(batch["moving_image"], ddf))
        if self.label_loss is not None:
            terms["label"] = self.label_loss(batch["fixed_label"], warp(batch["moving_label"], ddf))
        terms["regularization"] = self.regularization(ddf)
        return sum(self.config["loss"][name]["weight"] * value for name, value in terms.items()), terms

    def train_epoch(self, data, generator):
        sums = {}
        for count, batch in enumerate(data.batches(self.config["batch_size"], generator), 1):
            total, terms = self.losses(batch)
            self.optimizer.zero_grad()
            total.backward()
            self.optimizer.step()
            for name, value in {**terms, "total": total}.items():
                sums[name] = sums.get(name, 0.0) + value.item()
        return {name: value / count for name, value in sums.items()}

    @torch.no_grad()
    def metrics(self, data):
        dice, tre = [], []
        for batch in data.batches(20):
            warped = warp(batch["moving_label"], self.backbone(batch["moving_image"], batch["fixed_image"]))
            a, b = batch["fixed_label"] > 0.5, warped > 0.5
            dice.append(2 * (a & b).sum((2, 3)) / (a.sum((2, 3)) + b.sum((2, 3))))
            tre.append((self.centroid(batch["fixed_label"]) - self.centroid(warped)).norm(dim=-1))
        dice, tre = torch.cat(dice), torch.cat(tre)
        return {"gland Dice": dice[:, 0].mean().item(), "landmark Dice": dice[:, 1:].mean().item(), "TRE": tre[:, 1:].mean().item()}

    @staticmethod
    def centroid(label):
        rows, cols = torch.arange(label.shape[2]).float(), torch.arange(label.shape[3]).float()
        mass = label.sum((2, 3)) + 1e-5
        return torch.stack([(label.sum(3) * rows).sum(2) / mass, (label.sum(2) * cols).sum(2) / mass], -1)


def main():
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = yaml.safe_load((Path(__file__).parent / "config.yaml").read_text())
    torch.manual_seed(config["seed"])
    sizes, train = config["dataset"], config["train"]
    training = PairedProstates(sizes["train_pairs"], sizes["size"], 1)
    validation = PairedProstates(sizes["valid_pairs"], sizes["size"], 2)
    model = DDFModel(train)
    generator = torch.Generator().manual_seed(config["seed"])
    for epoch in range(1, train["epochs"] + 1):
        losses = model.train_epoch(training, generator)
        if epoch % train["log_every"] == 0:
            report = {**{f"loss/{k}": v for k, v in losses.items()}, **model.metrics(validation)}
            logging.info("epoch %d %s", epoch, " ".join(f"{k} {v:.4f}" for k, v in report.items()))


if __name__ == "__main__":
    main()
