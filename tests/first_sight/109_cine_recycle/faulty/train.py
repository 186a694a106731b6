"""Unpaired translation of cine MR from bright-blood to black-blood contrast with temporal predictors (Recycle-GAN)."""
import argparse
import itertools

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

SIZE, FRAMES = 28, 3


def beat(rng):
    """Three successive frames of a short-axis slice in both contrasts, in [-1, 1]."""
    yy, xx = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    y, x = rng.uniform(-3, 3, 2)
    inner, wall, start, speed = rng.uniform(4, 6), rng.uniform(2, 3), rng.uniform(0, 6), rng.uniform(0.4, 0.7)
    chest = (rng.uniform(11, 13), rng.uniform(12.5, 13.5))
    bright, black = [], []
    for t in range(FRAMES):
        squeeze = 1 - 0.25 * (1 + np.sin(start + speed * t)) / 2
        r = np.hypot(yy - y, xx - x)
        cavity = r < inner * squeeze
        muscle = (r < inner * squeeze + wall * (1.6 - 0.6 * squeeze)) & ~cavity
        right = (((yy - y) / 5.5) ** 2 + ((xx - x + 8.5) / (3.5 * squeeze)) ** 2 < 1) & ~muscle & ~cavity
        body = (yy / chest[0]) ** 2 + (xx / chest[1]) ** 2 < 1
        a, b = np.full((SIZE, SIZE), -1.0), np.full((SIZE, SIZE), -1.0)
        a[body], b[body] = -0.3, 0.1
        a[muscle], b[muscle] = -0.6, 0.7
        a[cavity | right], b[cavity | right] = 0.8, -0.75
        bright.append(a), black.append(b)
    return np.stack(bright), np.stack(black)


def make_videos(count, seed):
    rng = np.random.default_rng(seed)
    pairs = [beat(rng) for _ in range(count)]
    tensor = lambda k: torch.from_numpy((np.stack([p[k] for p in pairs]) + rng.normal(0, 0.04, (count, FRAMES, SIZE, SIZE))).astype(np.float32))
    return tensor(0), tensor(1)


class Generator(nn.Module):
    """Works on any number of input frames; used as translator (one) and as predictor (two)."""

    def __init__(self, frames=1, channels=12, blocks=1):
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(frames, channels, 3, padding=1), nn.InstanceNorm2d(channels), nn.ReLU())
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.InstanceNorm2d(channels), nn.ReLU(),
                          nn.Conv2d(channels, channels, 3, padding=1), nn.InstanceNorm2d(channels)) for _ in range(blocks))
        self.tail = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, x):
        h = self.head(x)
        for block in self.blocks:
            h = h + block(h)
        return torch.tanh(self.tail(h))


class Discriminator(nn.Sequential):
    def __init__(self, channels=12):
        super().__init__(
            nn.Conv2d(1, channels, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(channels, 2 * channels, 4, 2, 1), nn.InstanceNorm2d(2 * channels), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * channels, 1, 3, 1, 1),
        )


def gan_loss(score, real):
    return F.mse_loss(score, torch.full_like(score, float(real)))


class RecycleGAN:
    def __init__(self, args):
        self.lambda_recycle, self.lambda_recurrent = args.lambda_recycle, args.lambda_recurrent
        self.G_A2B, self.G_B2A = Generator(), Generator()
        self.P_A, self.P_B = Generator(frames=2), Generator(frames=2)
        self.D_A, self.D_B = Discriminator(), Discriminator()
        nets = (self.G_A2B, self.G_B2A, self.P_A, self.P_B)
        self.optim_G = torch.optim.Adam(itertools.chain(*(net.parameters() for net in nets)), args.lr, betas=(0.5, 0.999))
        self.optim_D = torch.optim.Adam(itertools.chain(self.D_A.parameters(), self.D_B.parameters()), args.lr, betas=(0.5, 0.999))

    @staticmethod
    def translate(net, video):
        return [net(video[:, t : t + 1]) for t in range(FRAMES)]

    def generator_loss(self, video, fakes, back, predictor_here, predictor_there, discriminator, frame):
        """Adversarial, recycle and recurrent losses of one direction; frame is what the discriminator sees."""
        adversarial = gan_loss(discriminator(frame), True)
        target = video[:, -1:]
        recycled = back(predictor_there(torch.cat(fakes[:-1], 1)))
        recycle = F.l1_loss(recycled, target) + F.l1_loss(back(fakes[-1]), target)
        recurrent = F.l1_loss(predictor_here(video[:, :-1]), target)
        return {"adversarial": adversarial, "recycle": recycle, "recurrent": recurrent}

    def backward(self, video_a, video_b):
        fake_b_frame_list = self.translate(self.G_A2B, video_a)
        fake_a_frame_list = self.translate(self.G_B2A, video_b)

        terms_a = self.generator_loss(video_a, fake_b_frame_list, self.G_B2A, self.P_A, self.P_B, self.D_B, video_b[:, -1:])
        terms_b = self.generator_loss(video_b, fake_a_frame_list, self.G_A2B, self.P_B, self.P_A, self.D_A, video_a[:, -1:])
        terms = {name: terms_a[name] + terms_b[name] for name in terms_a}
        loss_g = terms["adversarial"] + self.lambda_recycle * terms["recycle"] + self.lambda_recurrent * terms["recurrent"]
        self.optim_G.zero_grad()
        loss_g.backward()
        self.optim_G.step()

        loss_d = 0
        for discriminator, video, fakes in ((self.D_A, video_a, fake_a_frame_list), (self.D_B, video_b, fake_b_frame_list)):
            real, fake = video[:, -1:], fakes[-1].detach()
            loss_d = loss_d + (gan_loss(discriminator(real), True) + gan_loss(discriminator(fake), False)) / 2
        self.optim_D.zero_grad()
        loss_d.backward()
        self.optim_D.step()
        return {**{name: value.item() for name, value in terms.items()}, "discriminator": loss_d.item()}

    @torch.no_grad()
    def test(self, video_a, video_b):
        """Mean absolute error against the black-blood frames of the same hearts."""
        return F.l1_loss(torch.cat(self.translate(self.G_A2B, video_a), 1), video_b).item()


def main(args):
    torch.manual_seed(args.seed)
    bright, _ = make_videos(args.videos, 1)
    _, black = make_videos(args.videos, 2)
    test_bright, test_black = make_videos(40, 3)
    model = RecycleGAN(args)
    print(f"untranslated: test MAE {F.l1_loss(test_bright, test_black).item():.4f}")
    for step in range(1, args.steps + 1):
        video_a = bright[torch.randint(len(bright), (args.batch_size,))]
        video_b = black[torch.randint(len(black), (args.batch_size,))]
        log = model.backward(video_a, video_b)
        if step % args.every == 0:
            shown = " ".join(f"{name} {value:.3f}" for name, value in log.items())
            print(f"step {step} {shown} test MAE {model.test(test_bright, test_black):.4f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--videos", type=int, default=200)
    parser.add_argument("--steps", type=int, default=320)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--lambda_recycle", type=float, default=4.0)
    parser.add_argument("--lambda_recurrent", type=float, default=4.0)
    parser.add_argument("--every", type=int, default=40)
    parser.add_argument("--seed", type=int, default=9)
    main(parser.parse_args())
