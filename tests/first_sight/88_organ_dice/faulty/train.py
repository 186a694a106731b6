"""Organs in abdominal slices with MONAI's U-Net."""
import numpy as np
import torch
import torch.nn.functional as F
from monai.data import DataLoader, Dataset
from monai.metrics import DiceMetric
from monai.networks.nets import UNet
from monai.utils import set_determinism
from scipy.ndimage import gaussian_filter

ORGANS = ("background", "liver", "spleen", "kidney")
SIDE = 64


def abdominal_slice(rng):
    yy, xx = np.mgrid[:SIDE, :SIDE].astype(float)

    def oval(x, y, a, b):
        return ((xx - x) / a) ** 2 + ((yy - y) / b) ** 2 < 1

    label = np.zeros((SIDE, SIDE), np.int64)
    body = oval(32, 32, rng.uniform(26, 30), rng.uniform(21, 25))
    label[oval(19 + rng.normal(0, 1.5), 27 + rng.normal(0, 1.5), rng.uniform(9, 12), rng.uniform(10, 13))] = 1
    label[oval(47 + rng.normal(0, 1.5), 26 + rng.normal(0, 1.5), rng.uniform(4, 6), rng.uniform(6, 9))] = 2
    for x in (22, 43):
        label[oval(x + rng.normal(0, 1.5), 44 + rng.normal(0, 1), rng.uniform(3, 4.5), rng.uniform(4, 5.5))] = 3
    label[~body] = 0
    image = np.where(body, 0.35, 0.0)
    for organ, level in ((1, 0.6), (2, 0.55), (3, 0.75)):
        image[label == organ] = level + rng.normal(0, 0.03)
    image[oval(32, 50, 4, 4)] = 0.95
    label[oval(32, 50, 4, 4)] = 0
    image = gaussian_filter(image, 0.6) + gaussian_filter(rng.normal(0, 0.15, image.shape), 0.5)
    return {"image": torch.from_numpy(image).float()[None], "label": torch.from_numpy(label)[None]}


class Cost:
    """The cost of a batch, chosen by its name."""

    def __init__(self, name, classes, eps=1e-5):
        if name not in ("cross_entropy", "dice_coefficient"):
            raise ValueError(f"unknown cost {name}")
        self.name, self.classes, self.eps = name, classes, eps

    def __call__(self, logits, label):
        if self.name == "cross_entropy":
            return F.cross_entropy(logits, label[:, 0])
        if self.name == "dice_coefficient":
            probabilities = logits
            onehot = F.one_hot(label[:, 0], self.classes).movedim(-1, 1).float()
            overlap = (probabilities * onehot).sum((0, 2, 3))
            total = probabilities.sum((0, 2, 3)) + onehot.sum((0, 2, 3))
            return 1 - (2 * overlap / (total + self.eps)).mean()


@torch.no_grad()
def validate(net, loader, metric):
    net.eval()
    metric.reset()
    for batch in loader:
        predicted = net(batch["image"]).argmax(1)
        metric(*(F.one_hot(m, len(ORGANS)).movedim(-1, 1) for m in (predicted, batch["label"][:, 0])))
    return metric.aggregate()


def main():
    set_determinism(4)
    rng = np.random.default_rng(4)
    train = DataLoader(Dataset([abdominal_slice(rng) for _ in range(160)]), batch_size=8, shuffle=True)
    val = DataLoader(Dataset([abdominal_slice(rng) for _ in range(40)]), batch_size=20)
    net = UNet(spatial_dims=2, in_channels=1, out_channels=len(ORGANS), channels=(8, 16, 32, 64), strides=(2, 2, 2), num_res_units=1)
    cost = Cost("dice_coefficient", len(ORGANS))
    optimizer = torch.optim.Adam(net.parameters(), lr=4e-3)
    metric = DiceMetric(include_background=False, reduction="mean_batch")
    for epoch in range(1, 10):
        net.train()
        losses = []
        for batch in train:
            image, label = batch["image"], batch["label"]
            optimizer.zero_grad()
            loss = cost(net(image), label)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        if epoch % 3 == 0:
            dice = validate(net, val, metric)
            print(f"epoch {epoch} loss {np.mean(losses):.4f} val dice " + " ".join(f"{o} {d:.3f}" for o, d in zip(ORGANS[1:], dice)))
    torch.save(net.state_dict(), "organs.pt")
    print(f"mean val dice {dice.mean():.3f}")


if __name__ == "__main__":
    main()
