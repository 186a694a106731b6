"""CT/MR fusion baseline: predict the tumour map from both modalities."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


def zscore(v):
    return (v - v.mean()) / (v.std() + 1e-6)


class PairedSlices(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.rows = []
        for _ in range(n):
            y, x = torch.randint(4, 14, (2,), generator=g).tolist()
            tumour = torch.zeros(24, 24)
            tumour[y:y + 6, x:x + 6] = 1
            ct = 40 + 12 * torch.randn(24, 24, generator=g) + 25 * tumour
            ct[:, :3] = -1000.0
            mr = 300 + 60 * torch.randn(24, 24, generator=g) + 120 * tumour
            self.rows.append((ct, mr, tumour))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        ct, mr, tumour = self.rows[i]
        ct = zscore(ct.clamp(-100, 200))
        mr = zscore(mr)
        return torch.stack([ct, mr]), tumour[None]


class FuseNet(nn.Module):
    def __init__(self, c=12):
        super().__init__()
        self.a = nn.Conv2d(2, c, 3, padding=1)
        self.b = nn.Conv2d(c, c, 3, padding=1)
        self.c = nn.Conv2d(c, 1, 3, padding=1)

    def forward(self, x):
        return self.c(F.relu(self.b(F.relu(self.a(x)))))


def main():
    torch.manual_seed(0)
    train = DataLoader(PairedSlices(120, 0), batch_size=8, shuffle=True, drop_last=True)
    test = DataLoader(PairedSlices(24, 1), batch_size=8)
    net = FuseNet()
    opt = torch.optim.RMSprop(net.parameters(), lr=1e-3)
    for ep in range(5):
        net.train()
        for x, y in train:
            opt.zero_grad()
            out = net(x)
            loss = F.binary_cross_entropy_with_logits(out, y, pos_weight=torch.tensor(5.0))
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            val = sum(F.binary_cross_entropy_with_logits(net(x), y).item() for x, y in test) / len(test)
        print("epoch", ep, "train", round(loss.item(), 4), "val", round(val, 4))


if __name__ == "__main__":
    main()
