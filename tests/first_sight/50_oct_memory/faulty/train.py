# coding: utf-8
# Retinal OCT, trained on healthy eyes only; what cannot be put together from the memory is called abnormal.

# In[1]:
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(7)


# In[2]:
def oct_scans(n, seed, abnormal):
    """B-scans of layers in [0, 1], 32 x 48; abnormal ones have a pocket of fluid or a drusen."""
    gen = torch.Generator().manual_seed(seed)
    h, w = 32, 48
    yy, xx = torch.meshgrid(torch.arange(h).float(), torch.arange(w).float(), indexing="ij")
    scans = []
    for _ in range(n):
        u = torch.rand(10, generator=gen)
        top = 6 + 4 * u[0] + 3 * torch.exp(-((xx - 24 - 8 * (u[1] - 0.5)) ** 2) / 60) + 1.5 * torch.sin(xx / 12 + 6 * u[2])
        depth = yy - top
        if abnormal and u[3] < 0.5:
            depth = depth + 3.5 * torch.exp(-((xx - 8 - 30 * u[4]) ** 2) / 8) * (depth > 8)
        scan = 0.05 + 0.1 * (depth < 0)
        for start, end, value in ((0, 3, 0.8), (3, 6, 0.45), (6, 8, 0.65), (8, 11, 0.3), (11, 13.5, 0.95), (13.5, 40, 0.25)):
            scan = torch.where((depth >= start) & (depth < end), torch.tensor(value) * (0.9 + 0.2 * u[5]), scan)
        if abnormal and u[3] >= 0.5:
            cy, cx = 14 + 4 * u[6], 10 + 28 * u[7]
            scan = torch.where(((yy - cy) / 2.2) ** 2 + ((xx - cx) / 4) ** 2 < 1, torch.tensor(0.05), scan)
        scans.append((scan + 0.06 * torch.randn(h, w, generator=gen))[None])
    return torch.stack(scans)


train_loader = DataLoader(TensorDataset(oct_scans(400, 0, False)), batch_size=16, shuffle=True)
val_normal, val_abnormal = oct_scans(60, 1, False), oct_scans(60, 2, True)
test_normal, test_abnormal = oct_scans(80, 3, False), oct_scans(80, 4, True)


# In[3]:
class NormalityMemory(nn.Module):
    """Each feature vector is replaced by a mixture of the values whose keys it resembles."""

    def __init__(self, length, channel, temperature=0.1):
        super().__init__()
        self.keys = torch.randn(length, channel)
        self.values = torch.randn(length, channel)
        self.temperature = temperature

    def forward(self, feature):
        b, c, h, w = feature.shape
        query = F.normalize(feature.flatten(2).transpose(1, 2), dim=-1)
        weight = torch.softmax(query @ F.normalize(self.keys, dim=-1).T / self.temperature, dim=-1)
        return (weight @ self.values).transpose(1, 2).reshape(b, c, h, w)


class MemoryAutoencoder(nn.Module):
    def __init__(self, ch=16, length=40):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, ch, 3, 2, 1), nn.BatchNorm2d(ch), nn.ReLU(), nn.Conv2d(ch, 2 * ch, 3, 2, 1), nn.BatchNorm2d(2 * ch), nn.ReLU(),
            nn.Conv2d(2 * ch, 2 * ch, 3, 1, 1))
        self.memory = NormalityMemory(length, 2 * ch)
        self.decoder = nn.Sequential(
            nn.Conv2d(2 * ch, 2 * ch, 3, 1, 1), nn.BatchNorm2d(2 * ch), nn.ReLU(),
            nn.ConvTranspose2d(2 * ch, ch, 4, 2, 1), nn.BatchNorm2d(ch), nn.ReLU(), nn.ConvTranspose2d(ch, 1, 4, 2, 1))

    def forward(self, x):
        return self.decoder(self.memory(self.encoder(x)))


# In[4]:
@torch.no_grad()
def anomaly_scores(model, scans):
    model.eval()
    error = ((model(scans) - scans) ** 2)
    return F.avg_pool2d(error, 5, 1).flatten(1).max(1).values


def auroc(negative, positive):
    return ((positive[:, None] > negative[None]).float() + 0.5 * (positive[:, None] == negative[None]).float()).mean().item()


# In[5]:
model = MemoryAutoencoder()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
best = 0.0
for epoch in range(12):
    model.train()
    total = 0.0
    for (scan,) in train_loader:
        loss = F.mse_loss(model(scan), scan)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() / len(train_loader)
    auc = auroc(anomaly_scores(model, val_normal), anomaly_scores(model, val_abnormal))
    print(f"epoch {epoch} loss {total:.5f} val AUROC {auc:.3f}")
    if auc > best:
        best = auc
        torch.save(model.state_dict(), "student_memory.pth")

# In[6]:
detector = MemoryAutoencoder()
detector.load_state_dict(torch.load("student_memory.pth"))
normal, abnormal = anomaly_scores(detector, test_normal), anomaly_scores(detector, test_abnormal)
print(f"best val AUROC {best:.3f}  test AUROC {auroc(normal, abnormal):.3f}  score of healthy eyes {normal.mean():.4f}")
