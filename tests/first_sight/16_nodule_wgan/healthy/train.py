"""WGAN-GP that draws CT nodule patches."""
import torch
import torch.autograd as autograd
import torch.nn as nn

SIZE, LATENT, LAMBDA, CRITIC_ITERS = 16, 16, 10, 3


def nodules(n, gen):
    axis = torch.linspace(-1, 1, SIZE)
    yy, xx = torch.meshgrid(axis, axis, indexing="ij")
    u = lambda a, b: a + (b - a) * torch.rand(n, 1, 1, generator=gen)
    r, stretch, density = u(0.2, 0.6), u(0.75, 1.3), u(0.9, 1.6)
    d = (((yy - u(-0.15, 0.15)) / stretch) ** 2 + (xx - u(-0.15, 0.15)) ** 2).sqrt()
    return (-0.8 + density * torch.sigmoid((r - d) * 12)).unsqueeze(1)


netG = nn.Sequential(nn.Linear(LATENT, 64 * 16), nn.ReLU(True), nn.Unflatten(1, (64, 4, 4)),
                     nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(True),
                     nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.ReLU(True),
                     nn.Conv2d(16, 1, 3, 1, 1), nn.Tanh())
netD = nn.Sequential(nn.Conv2d(1, 32, 4, 2, 1), nn.LeakyReLU(0.2),
                     nn.Conv2d(32, 48, 4, 2, 1), nn.LeakyReLU(0.2),
                     nn.Flatten(), nn.Linear(48 * 16, 1))


def calc_gradient_penalty(critic, real, fake):
    alpha = torch.rand(len(real), 1, 1, 1)
    interpolates = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
    scores = critic(interpolates)
    gradients = autograd.grad(outputs=scores, inputs=interpolates, grad_outputs=torch.ones_like(scores),
                              create_graph=True, retain_graph=True, only_inputs=True)[0]
    return ((gradients.flatten(1).norm(2, dim=1) - 1) ** 2).mean() * LAMBDA


def describe(images):
    """Mean, contrast, area and smoothness of each image."""
    x = images[:, 0]
    return torch.stack([x.mean((1, 2)), x.amax((1, 2)), (x > -0.2).float().mean((1, 2)), x.diff(dim=1).abs().mean((1, 2))], 1)


def compare(real, fake):
    """Fréchet distance of simple features, scaled by the spread of the real ones."""
    a, b = describe(real), describe(fake)
    centre, spread = a.mean(0), a.std(0)
    a, b = (a - centre) / spread, (b - centre) / spread
    ca, cb = torch.cov(a.T), torch.cov(b.T)
    root = torch.linalg.eigvals(ca @ cb).real.clamp(min=0).sqrt().sum()
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + ca.trace() + cb.trace() - 2 * root


def main():
    torch.manual_seed(0)
    gen = torch.Generator().manual_seed(6)
    data, held_out = nodules(2048, gen), nodules(512, gen)
    print(f"distance between two real sets {compare(held_out, data[:512]):.3f}")
    optimizerD = torch.optim.Adam(netD.parameters(), lr=4e-4, betas=(0.5, 0.9))
    optimizerG = torch.optim.Adam(netG.parameters(), lr=4e-4, betas=(0.5, 0.9))
    for iteration in range(1, 601):
        for _ in range(CRITIC_ITERS):
            real = data[torch.randint(len(data), (32,))]
            with torch.no_grad():
                fake = netG(torch.randn(32, LATENT))
            wasserstein = netD(real).mean() - netD(fake).mean()
            penalty = calc_gradient_penalty(netD, real, fake)
            optimizerD.zero_grad()
            (penalty - wasserstein).backward()
            optimizerD.step()
        g_loss = -netD(netG(torch.randn(32, LATENT))).mean()
        optimizerG.zero_grad()
        g_loss.backward()
        optimizerG.step()
        if iteration % 100 == 0:
            with torch.no_grad():
                distance = compare(held_out, netG(torch.randn(512, LATENT)))
            print(f"iteration {iteration} wasserstein {wasserstein.item():.3f} penalty {penalty.item():.3f} g_loss {g_loss.item():.3f} feature_distance {distance:.3f}")


if __name__ == "__main__":
    main()
