"""Trains the bundled photograph network; `python -m nn_lens.networks.train_photos20 --help`.

Everything was chosen on `--held-out` pictures, a tenth of the training set; the shipped weights
come from a run over the whole training set; the test pictures are scored at its end and choose nothing.
"""

from __future__ import annotations

import argparse
import copy
import io
import itertools
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from nn_lens.networks.photos20 import MEAN, STD, photos20_network

HELD_OUT = 1000


def read_pictures(npz: np.lib.npyio.NpzFile, part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """(N,3,64,64) uint8 pictures and (N,) labels of one part ("train" or "test") of photos20."""
    data, offsets = npz[f"{part}_bytes"].tobytes(), npz[f"{part}_offsets"]
    pictures = [np.asarray(Image.open(io.BytesIO(data[a:b])).convert("RGB")) for a, b in itertools.pairwise(offsets)]
    stack = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
    return stack, torch.from_numpy(npz[f"{part}_labels"].astype(np.int64))


def augmented(x: torch.Tensor, g: torch.Generator, strength: float) -> torch.Tensor:
    """Random crop, stretch, small rotation, mirror, brightness, contrast and tint of (N,3,H,W) in [0,1]."""
    n = x.shape[0]

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(n, *shape, generator=g) * 2 - 1

    # The side of the crop: from closer to farther than the picture itself, so that the network sees
    # whole pictures at the size at which they will be shown to it (Touvron et al., 2019).
    low, high = math.log(0.62), math.log(1.22)
    side = torch.exp(strength * (low + (high - low) * torch.rand(n, generator=g)))
    aspect = torch.exp(uniform() * math.log(4 / 3) / 2 * strength)
    sx, sy = side * aspect, side / aspect
    angle = uniform() * math.radians(12) * strength
    mirror = torch.where(torch.rand(n, generator=g) < 0.5, -1.0, 1.0)
    slack = torch.stack([(1 - sx).abs(), (1 - sy).abs()], 1) + 0.08
    shift = uniform(2) * slack
    c, s = angle.cos(), angle.sin()
    theta = torch.stack(
        [
            torch.stack([mirror * c * sx, -s * sy, shift[:, 0]], 1),
            torch.stack([mirror * s * sx, c * sy, shift[:, 1]], 1),
        ],
        1,
    )
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    gain = 1 + uniform(1, 1, 1) * 0.3 * strength
    tint = uniform(3, 1, 1) * 0.06 * strength
    grey = x.mean(1, keepdim=True)
    saturation = 1 + uniform(1, 1, 1) * 0.4 * strength
    x = grey + (x - grey) * saturation
    mean = x.mean((1, 2, 3), keepdim=True)
    return (mean * (1 + uniform(1, 1, 1) * 0.3 * strength) + (x - mean) * gain + tint).clamp(0, 1)


def cut_and_pasted(x: torch.Tensor, y: torch.Tensor, g: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, float]:
    """CutMix (Yun et al., 2019): a rectangle of another picture; second labels and their share."""
    share = float(torch.rand((), generator=g))
    h, w = x.shape[2:]
    ch, cw = round(h * math.sqrt(share)), round(w * math.sqrt(share))
    top = int(torch.randint(0, h - ch + 1, (), generator=g))
    left = int(torch.randint(0, w - cw + 1, (), generator=g))
    order = torch.randperm(x.shape[0], generator=g)
    x = x.clone()
    x[:, :, top : top + ch, left : left + cw] = x[order, :, top : top + ch, left : left + cw]
    return x, y[order], ch * cw / (h * w)


def high_frequency_energy(filters: torch.Tensor) -> torch.Tensor:
    """Energy of (O,I,k,k) filters at or above half the Nyquist frequency, summed."""
    spectrum = torch.fft.fft2(filters, s=(32, 32), norm="ortho")
    f = torch.fft.fftfreq(32)
    high = (f[:, None] ** 2 + f[None] ** 2).sqrt() >= 0.25
    energy: torch.Tensor = (spectrum.abs() ** 2)[..., high].sum()
    return energy


def low_frequency_share(filters: torch.Tensor) -> torch.Tensor:
    """(O,) share of each filter's energy below half the Nyquist frequency."""
    spectrum = torch.fft.fft2(filters.detach().float(), s=(32, 32)).abs() ** 2
    f = torch.fft.fftfreq(32)
    low = (f[:, None] ** 2 + f[None] ** 2).sqrt() < 0.25
    share: torch.Tensor = spectrum[..., low].sum((1, 2)) / spectrum.sum((1, 2, 3))
    return share


@torch.no_grad()
def accuracy(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """Share of (N,3,H,W) uint8 pictures whose highest output is their label."""
    model.eval()
    right = [
        (model(normalized(a.float() / 255)).argmax(1) == b).sum()
        for a, b in zip(x.split(250), y.split(250), strict=True)
    ]
    return float(torch.stack(right).sum()) / len(y)


def normalized(x: torch.Tensor) -> torch.Tensor:
    """(N,3,H,W) in [0,1] -> zero mean, unit variance per channel of ImageNet."""
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def train(
    x: torch.Tensor,
    y: torch.Tensor,
    held: tuple[torch.Tensor, torch.Tensor] | None,
    options: argparse.Namespace,
) -> nn.Module:
    """SGD with Nesterov momentum, one-cycle rate, CutMix, label smoothing and averaged weights."""
    torch.manual_seed(options.seed)
    g = torch.Generator().manual_seed(options.seed)
    model = photos20_network(tuple(options.widths)).to(memory_format=torch.channels_last)
    averaged = copy.deepcopy(model)
    decay = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.SGD(
        [{"params": decay, "weight_decay": options.decay}, {"params": plain, "weight_decay": 0.0}],
        lr=options.rate, momentum=0.9, nesterov=True,
    )  # fmt: skip
    steps = options.epochs * (len(x) // options.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.rate, total_steps=steps, pct_start=0.2, final_div_factor=1e3
    )
    step, start = 0, time.time()
    for epoch in range(options.epochs):
        model.train()
        total = 0.0
        last_lap = epoch >= options.epochs * 0.9
        for pick in torch.randperm(len(x), generator=g).split(options.batch):
            if len(pick) < options.batch:
                continue
            strength = options.strength * (0.5 if last_lap else 1.0)
            a = normalized(augmented(x[pick].float() / 255, g, strength))
            b, b2, share = y[pick], y[pick], 0.0
            if not last_lap and float(torch.rand((), generator=g)) < options.cutmix:
                a, b2, share = cut_and_pasted(a, b, g)
            with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
                out = model(a.contiguous(memory_format=torch.channels_last)).float()
            loss = (1 - share) * F.cross_entropy(out, b, label_smoothing=0.1)
            if share:
                loss = loss + share * F.cross_entropy(out, b2, label_smoothing=0.1)
            loss = loss + options.smooth * high_frequency_energy(model.get_parameter("conv1.weight"))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            step += 1
            total += loss.item()
            keep = min(0.998, (1 + step) / (10 + step))
            with torch.no_grad():
                for p, q in zip(averaged.state_dict().values(), model.state_dict().values(), strict=True):
                    p.lerp_(q, 1 - keep) if p.is_floating_point() else p.copy_(q)
        line = f"epoch {epoch + 1}/{options.epochs} loss {total / (len(x) // options.batch):.3f} {time.time() - start:.0f} s"
        if held is not None and (epoch % 5 == 4 or epoch == options.epochs - 1):
            line += f" held-out {accuracy(model, *held):.4f} averaged {accuracy(averaged, *held):.4f}"
            line += f" smoothness {low_frequency_share(averaged.get_parameter('conv1.weight')).median():.3f}"
        print(line, flush=True)
    return averaged


def main() -> None:
    """Trains, scores and writes weights and the numbers of the model card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="photos20_64px.npz")
    parser.add_argument("--out", type=Path, help="folder for photos20.safetensors and photos20.json")
    parser.add_argument("--held-out", action="store_true", help="score a held-back tenth, not the test pictures")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--decay", type=float, default=5e-4)
    parser.add_argument("--strength", type=float, default=1.0)
    parser.add_argument("--cutmix", type=float, default=0.5)
    parser.add_argument("--smooth", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--widths", type=int, nargs=4, default=[48, 96, 176, 240])
    parser.add_argument("--bf16", action="store_true", help="bfloat16 where the processor has it")
    options = parser.parse_args()

    start = time.time()
    npz = np.load(options.data)
    x, y = read_pictures(npz, "train")
    if options.held_out:
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(12345))
        test = x[order[:HELD_OUT]], y[order[:HELD_OUT]]
        x, y = x[order[HELD_OUT:]], y[order[HELD_OUT:]]
        model = train(x, y, test, options)
    else:
        model = train(x, y, None, options)
        test = read_pictures(npz, "test")
    # Scored as shipped: in half precision.
    state = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    card = {
        "accuracy": accuracy(model, *test),
        "scored_on": "held-out training pictures" if options.held_out else "test pictures, at the end of the run",
        "parameters": sum(p.numel() for p in model.parameters()),
        "smoothness_median": float(low_frequency_share(model.get_parameter("conv1.weight")).median()),
        "minutes": round((time.time() - start) / 60, 1),
        "options": {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items() if k not in ("data", "out")},
        "classes": [str(c) for c in npz["classes"]],
    }  # fmt: skip
    print(json.dumps(card))
    if options.out:
        from safetensors.torch import save_file

        options.out.mkdir(parents=True, exist_ok=True)
        save_file(state, options.out / "photos20.safetensors")
        (options.out / "photos20.json").write_text(json.dumps(card, indent=1) + "\n")


if __name__ == "__main__":
    main()
