# retina_vqvae.ipynb as a script

# %% imports
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
K, DIM, BETA = 64, 8, 0.25

# %% data: fundus-like patches with vessels and a disc
def patches(n, gen, size=24):
    axis = torch.linspace(-1, 1, size)
    yy, xx = torch.meshgrid(axis, axis, indexing="ij")
    u = lambda a, b: a + (b - a) * torch.rand(n, 1, 1, generator=gen)
    x = u(-0.3, 0.3) + 0.2 * yy * u(-1, 1)
    for _ in range(2):
        angle, shift, width = u(0, 3.14), u(-0.8, 0.8), u(0.05, 0.12)
        along = yy * angle.cos() + xx * angle.sin() + 0.15 * torch.sin(4 * (xx * angle.cos() - yy * angle.sin()) + u(0, 6))
        x = x - 0.8 * torch.exp(-((along - shift) / width) ** 2)
    disc = ((yy - u(-2, 2)) ** 2 + (xx - u(-2, 2)) ** 2).sqrt()
    return (x + 0.7 * torch.sigmoid((0.5 - disc) * 15)).unsqueeze(1)


gen = torch.Generator().manual_seed(3)
train, val = patches(1500, gen), patches(200, gen)

# %% model
class VectorQuantizer(nn.Module):
    def __init__(self):
        super().__init__()
        self.codebook = nn.Embedding(K, DIM)
        nn.init.normal_(self.codebook.weight, 0, 0.3)

    def forward(self, inputs):
        flat = inputs.permute(0, 2, 3, 1)
        distance = ((flat[..., None, :] - self.codebook.weight) ** 2).sum(-1)
        indices = distance.argmin(-1)
        quantize = self.codebook(indices).permute(0, 3, 1, 2)
        encoder_loss = ((quantize.detach() - inputs) ** 2).mean()
        codebook_loss = ((quantize - inputs.detach()) ** 2).mean()
        quantize = inputs + (quantize - inputs).detach()
        return quantize, encoder_loss + BETA * codebook_loss, indices


class VQVAE(nn.Module):
    def __init__(self, ch=32):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, ch, 4, 2, 1), nn.ReLU(), nn.Conv2d(ch, ch, 4, 2, 1), nn.ReLU(), nn.Conv2d(ch, ch, 3, 1, 1), nn.ReLU(), nn.Conv2d(ch, DIM, 1))
        self.quantizer = VectorQuantizer()
        self.decoder = nn.Sequential(nn.Conv2d(DIM, ch, 3, 1, 1), nn.ReLU(), nn.ConvTranspose2d(ch, ch, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(ch, 1, 4, 2, 1))

    def forward(self, x):
        q, vq_loss, indices = self.quantizer(self.encoder(x))
        return self.decoder(q), vq_loss, indices


# %% training
model = VQVAE()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(12):
    model.train()
    history = torch.zeros(2)
    batches = torch.randperm(len(train)).split(25)
    for pick in batches:
        recon, vq_loss, _ = model(train[pick])
        recon_loss = F.mse_loss(recon, train[pick])
        optimizer.zero_grad()
        (recon_loss + vq_loss).backward()
        optimizer.step()
        history += torch.tensor([recon_loss.item(), vq_loss.item()]) / len(batches)
    model.eval()
    with torch.no_grad():
        recon, vq_loss, indices = model(val)
        share = torch.bincount(indices.flatten(), minlength=K) / indices.numel()
        perplexity = torch.exp(-(share * (share + 1e-10).log()).sum())
    if epoch % 2:
        print(f"epoch {epoch} recon {history[0]:.4f} vq {history[1]:.4f} val_recon {F.mse_loss(recon, val):.4f} perplexity {perplexity:.1f}")
