"""3D patch segmentation with gradient accumulation (the card only fits batch size 1)."""
import logging

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
log = logging.getLogger("seg3d")

ACCUMULATE = 4
EPOCHS = 5


def synthetic_volumes(n, size=12, seed=0):
    g = torch.Generator().manual_seed(seed)
    vol = torch.randn(n, 1, size, size, size, generator=g) * 0.5
    lab = torch.zeros(n, size, size, size, dtype=torch.long)
    for k in range(n):
        z, y, x = torch.randint(1, size - 6, (3,), generator=g).tolist()
        vol[k, 0, z:z + 5, y:y + 5, x:x + 5] += 1.5
        lab[k, z:z + 5, y:y + 5, x:x + 5] = 1
        vol[k, 0, z:z + 2, y:y + 2, x:x + 2] += 1.5
        lab[k, z:z + 2, y:y + 2, x:x + 2] = 2
    return vol, lab


class Net3d(nn.Module):
    def __init__(self, ch=8, classes=3):
        super().__init__()
        self.c1 = nn.Conv3d(1, ch, 3, padding=1)
        self.n1 = nn.InstanceNorm3d(ch, affine=True)
        self.c2 = nn.Conv3d(ch, ch, 3, padding=1)
        self.n2 = nn.InstanceNorm3d(ch, affine=True)
        self.c3 = nn.Conv3d(ch, classes, 1)

    def forward(self, x):
        x = F.leaky_relu(self.n1(self.c1(x)))
        x = x + F.leaky_relu(self.n2(self.c2(x)))
        return self.c3(x)


def train():
    torch.manual_seed(0)
    vol, lab = synthetic_volumes(26)
    loader = DataLoader(TensorDataset(vol[:22], lab[:22]), batch_size=1, shuffle=True)
    val = DataLoader(TensorDataset(vol[22:], lab[22:]), batch_size=2)
    model = Net3d()
    opt = torch.optim.AdamW(model.parameters(), lr=5e-3)
    ce = nn.CrossEntropyLoss()
    opt.zero_grad()
    for epoch in range(EPOCHS):
        model.train()
        total = 0.0
        for it, (x, y) in enumerate(loader):
            loss = ce(model(x), y)
            (loss / ACCUMULATE).backward()
            total += loss.item()
            if (it + 1) % ACCUMULATE == 0:
                opt.step()
                opt.zero_grad()
        model.eval()
        correct = 0
        with torch.inference_mode():
            for x, y in val:
                correct += ((model(x).argmax(1) == y) & (y > 0)).sum().item()
        log.info("epoch %d loss %.4f fg voxels right %d", epoch, total / len(loader), correct)


if __name__ == "__main__":
    train()
