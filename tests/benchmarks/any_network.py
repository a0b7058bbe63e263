"""Asks everything of networks that nobody tuned for, and holds the numbers against plain torch.

    python tests/benchmarks/any_network.py [--only NAME ...] [--out FILE] [--limit SECONDS] [--all] [--device cuda --jobs 8]

A process and a time limit per network; what is in the file already is not run again, so that a run goes on where it
stopped. Networks: own small ones of each kind of input and answer, the smallest of each family of torchvision, and of
timm and transformers where they are installed (random weights, no download); with --all every model of torchvision.
A cell is "works" (numbers checked), "says why" (a LensError), "fault" (another error, or wrong numbers), or "not run".
With --device models and numbers are on that device, without TF32.
"""

from __future__ import annotations

import argparse
import inspect
import json
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

QUESTIONS = (
    "network", "filters", "activations", "scores", "maximize", "class", "unit", "grad_cam", "ablate", "incoming", "field",
    "examples", "embedding",
)  # fmt: skip


# ---- which networks ----


def own() -> dict[str, Callable[[], tuple[Any, dict[str, Any]]]]:
    """Small networks of every kind of input and answer."""
    import zoo

    return {f"own {name}": make for name, make in zoo.NETWORKS.items()}


def torchvision_names(every: bool) -> list[str]:
    """Of each family the smallest, or every model."""
    import torchvision

    names = [n for n in torchvision.models.list_models() if not n.startswith("quantized")]
    if every:
        return names
    smallest: dict[str, tuple[int, str]] = {}
    for name in names:
        weights = torchvision.models.get_model_weights(name)
        size = weights.DEFAULT.meta["num_params"]
        family = torchvision.models.get_model_builder(name).__module__
        smallest[family] = min(smallest.get(family, (size, name)), (size, name))
    return sorted(name for _, name in smallest.values())


def timm_names() -> list[str]:
    """Of each module of timm its first small model."""
    try:
        import timm
    except ImportError:
        return []
    small = ("atto", "femto", "pico", "nano", "tiny", "small", "xxs", "xs", "_s", "18", "b0", "050", "test")
    names = []
    for module in timm.list_modules():
        there = timm.list_models(module=module)
        if there:
            names.append(min(there, key=lambda n: (not any(s in n for s in small), len(n), n)))
    return sorted(set(names))


TRANSFORMERS = {
    "ViTForImageClassification": ("ViTConfig", {"image_size": 64, "patch_size": 16}),
    "SwinForImageClassification": ("SwinConfig", {"image_size": 64, "depths": [1, 1, 2, 1]}),
    "ConvNextForImageClassification": ("ConvNextConfig", {"image_size": 64, "depths": [1, 1, 2, 1]}),
    "ResNetForImageClassification": ("ResNetConfig", {"layer_type": "basic", "depths": [1, 1, 1, 1]}),
    "Dinov2ForImageClassification": ("Dinov2Config", {"image_size": 70, "patch_size": 14}),
    "SegformerForSemanticSegmentation": ("SegformerConfig", {"num_labels": 5}),
    "MobileViTForImageClassification": ("MobileViTConfig", {"image_size": 64}),
}


def names(every: bool) -> list[str]:
    """All networks, the small ones first."""
    found = [*own(), *(f"torchvision {n}" for n in torchvision_names(every)), *(f"timm {n}" for n in timm_names())]
    try:
        import transformers  # noqa: F401
    except ImportError:
        return found
    return [*found, *(f"transformers {n}" for n in TRANSFORMERS)]


def build(name: str) -> tuple[Any, dict[str, Any]]:
    """The model of that name, and what nl.Network is to be told."""
    import torch

    torch.manual_seed(0)
    where, model = name.split(" ", 1)
    if where == "own":
        return own()[name]()
    if where == "timm":
        import timm

        return timm.create_model(model, pretrained=False), {}
    if where == "transformers":
        import transformers

        config, options = TRANSFORMERS[model]
        small = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
        taken = small if config in ("ViTConfig", "Dinov2Config") else {}
        return getattr(transformers, model)(getattr(transformers, config)(**options, **taken)), {}
    import torchvision

    module = torchvision.models.get_model_builder(model).__module__
    options = {"weights": None}
    if "segmentation" in module or "detection" in module:
        options["weights_backbone"] = None
    made = torchvision.models.get_model(model, **options)
    given = {"input_shape": (3, 128, 128)} if "segmentation" in module or "detection" in module else {}
    if "video" in module:
        given = {"input_shape": (3, 16, 112, 112) if "Swin" not in type(made).__name__ else (3, 16, 96, 96)}
        given = {"input_shape": (3, 16, 224, 224)} if type(made).__name__ in ("MViT", "S3D") else given
    if "optical_flow" in module:
        given = {"input_shape": (3, 128, 128), "inputs": lambda x: (x, x.flip(3)), "output": -1}
    return made, given


# ---- one network ----


def fixed_statistics() -> Any:
    """Inside, a normalization by the picture's own statistics gives its gradient to its own place alone."""
    from torch.overrides import TorchFunctionMode

    class Fixed(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            if getattr(func, "__name__", "") not in ("group_norm", "instance_norm"):
                return result
            return result.detach() + (args[0] - args[0].detach())

    return Fixed()


def formulas() -> Any:
    """Inside, normalizations are made of sums: on the CPU, torch's own give wrong gradients for some orders in memory."""
    import torch.nn.functional as F
    from torch.overrides import TorchFunctionMode

    def formula(func: Any, *args: Any, **kwargs: Any) -> Any:
        given = inspect.signature(func).bind(*args, **kwargs)
        given.apply_defaults()
        x, mean, var, weight, bias, own, _momentum, eps = given.arguments.values()
        one_by_one = func is F.instance_norm
        if own or mean is None:
            along = [d for d in range(x.ndim) if d != 1 and not (one_by_one and d == 0)]
            mean, var = x.mean(along), x.var(along, correction=0)
        ones = (1,) * (x.ndim - 2)
        mean, var = (t.reshape(-1, x.shape[1], *ones) for t in (mean, var))
        x = (x - mean) / (var + eps).sqrt()
        x = x if weight is None else x * weight.reshape(1, -1, *ones)
        return x if bias is None else x + bias.reshape(1, -1, *ones)

    class Formulas(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            known = func in (F.batch_norm, F.instance_norm)
            return formula(func, *args, **(kwargs or {})) if known else func(*args, **(kwargs or {}))

    return Formulas()


class Wrong(Exception):
    """A number that is not what plain torch gives."""


class Trial:
    """All questions to one network."""

    def __init__(self, name: str, device: str = "cpu") -> None:
        import numpy as np
        import torch

        import nn_lens as nl

        self.nl, self.np, self.torch = nl, np, torch
        torch.backends.cudnn.allow_tf32 = False
        self.model, self.given = build(name)
        self.model.eval().to(device)

    def network(self) -> str:
        """Makes the network, and picks the layers that are asked about."""
        nl, torch = self.nl, self.torch
        before = {k: v.clone() for k, v in self.model.state_dict().items() if isinstance(v, torch.Tensor)}
        self.net = nl.Network(self.model, **self.given)
        changed = [k for k, v in self.model.state_dict().items() if k in before and not torch.equal(v, before[k])]
        self._check(not changed, f"changed {changed[:3]}")
        shown = [layer for layer in self.net.layers if layer.reason is None]
        self._check(bool(shown), "no layer can be shown")
        maps = [layer for layer in shown if self.np.prod(layer.layout.grid) > 1] or shown
        self.layers = list(dict.fromkeys((maps[0].name, maps[len(maps) // 2].name, maps[-1].name)))
        self.middle = maps[len(maps) // 2]
        generator = torch.Generator().manual_seed(1)
        draw = torch.rand if self.net.kind in ("picture", "volume") else torch.randn
        self.pictures = [draw(self.net.input_shape, generator=generator) for _ in range(3)]
        self.x = self.pictures[0]
        return f"{len(shown)} of {len(self.net.layers)} layers; {self.net!r}"

    def filters(self) -> str:
        """Of all layers with a weight that is their own; the numbers are the module's."""
        np, nl, torch = self.np, self.nl, self.torch
        count = 0
        for layer in self.net.layers:
            module = self.net.module(layer.name)
            if isinstance(module, (torch.nn.modules.conv._ConvNd, torch.nn.Linear)):
                own, weight = nl.filters(self.net, layer.name).weights, module.weight.detach().cpu().numpy()
                self._check(own.size == weight.size, f"{layer.name} {own.shape}")
                self._check(np.isclose(np.abs(own).sum(), np.abs(weight).sum(), rtol=1e-3), f"{layer.name} differs")
                count += 1
        if not count:
            nl.filters(self.net, self.middle.name)
        return f"{count} layers"

    def activations(self) -> str:
        """Of three layers, against a plain hook."""
        for name in self.layers:
            raw = self._plain(name)
            maps = self.nl.activations(self.net, self.x, name).maps
            layout = self.net[name].layout
            if raw.shape[layout.batch_axis] != 1:
                continue  # it takes no single picture
            expected = layout.maps(raw)[0].detach().cpu().numpy()
            self._close(maps, expected, name)
            if isinstance(self.net.module(name), self.torch.nn.modules.conv._ConvNd):
                self._close(maps, raw[0].detach().cpu().numpy(), name)
        return ", ".join(self.layers)

    def scores(self) -> str:
        """Against the bare model."""
        own = self.net.scores(self.x)
        with self.torch.no_grad():
            answer = self.net.runner.answer(self._call(self.x[None]))
        self._close(own.ravel(), answer.cpu().numpy().ravel(), "scores")
        total = sum(p for _, p in self.net.predict(self.x, 10**6))
        self._check(self.net.output_kind not in ("logits", "probabilities", "dense") or abs(total - 1) < 1e-2
                    or "sigmoid" in repr(self.net), f"probabilities sum to {total}")  # fmt: skip
        return f"{self.net.output_kind}, {own.shape}"

    def maximize(self) -> str:
        """Of each layer's middle channel, a few steps; the number is what the layer answers to the image."""
        done = []
        for name in self.layers:
            unit = f"{name}:{self.net[name].channels // 2}"
            found = self.nl.maximize(self.net, unit, steps=4)
            self._check(self.np.isfinite(found.images).all() and self.np.isfinite(found.activations).all(), unit)
            with self.net.evaluation(), self.torch.no_grad():
                images = self.torch.from_numpy(found.images).to(self.net.device)
                maps = self.net.outputs(images, [name])[name]
            values = maps[0, self.net[name].channels // 2].flatten().cpu().numpy()
            near = self.np.abs(values - found.activations[0]).min()
            self._check(near <= 1e-3 * (1 + abs(found.activations[0])), f"{unit} {found.activations[0]} is nowhere")
            done.append(f"{found.activations[0]:.3g} {found.notes[0]}".strip())
        return ", ".join(done)

    def class_evidence(self) -> str:
        """The gradient of a class's score; of dense answers its sum over the places where it wins."""
        index = self._class()

        def score(x: Any) -> Any:
            answer = self.net.runner.answer(self._call(x))
            if self.net.output_kind != "dense":
                return answer.reshape(-1)[index]
            return answer[0, index][answer[0].argmax(0) == index].sum()

        return self._same_gradient(index, score)

    def unit_evidence(self) -> str:
        """The gradient of a neuron."""
        layer = self.middle
        place = tuple(n // 2 for n in layer.layout.grid)
        unit = self.nl.Unit(layer.name, layer.channels // 2, *place)
        return self._same_gradient(
            unit, lambda x: layer.layout.maps(self._plain(layer.name, x))[(0, unit.channel, *place)]
        )

    def grad_cam(self) -> str:
        """The default layer leads to a map of the input's places; of nothing only where the head is one of zeros."""
        index = self._class()
        own = self.nl.attribute(self.net, self.x, index, "grad_cam")
        self._check(bool(self.np.isfinite(own.map).all()), f"not finite at {own.layer}")
        if not own.map.any():
            gradient = self.nl.attribute(self.net, self.x, index, "saliency").map  # held against plain torch by "class"
            self._check(not gradient.any(), f"nothing at {own.layer}")
            return f"{own.layer}, nothing, as the score's gradient is"
        return str(own.layer)

    def ablate(self) -> str:
        """Against a hook that sets a channel to 0."""
        name, channel = self.middle.name, self.middle.channels // 2
        own = self.nl.ablate(self.net, [self.x], f"{name}:{channel}", controls=1)
        layout, module = self.net[name].layout, self.net.module(name)
        calls = []

        def off(_module: Any, _inputs: Any, output: Any) -> Any:
            calls.append(1)
            if len(calls) > 1:
                return None
            new = (output[0] if isinstance(output, (tuple, list)) else output).clone()
            new.movedim(layout.channel_axis(), 0)[channel] = 0
            return (new, *output[1:]) if isinstance(output, tuple) else new

        handle = module.register_forward_hook(off)
        with self.torch.no_grad():
            answer = self.net.runner.answer(self._call(self.x[None]))
        handle.remove()
        if self.net.output_kind != "dense":
            self._close(own.after.ravel(), answer.cpu().numpy().ravel(), "after")
        return own.alt_text

    def incoming(self) -> str:
        """Of a unit of each layer."""
        said, worked = [], 0
        for name in self.layers:
            try:
                found = self.nl.incoming(self.net, f"{name}:{self.net[name].channels // 2}", k=3)
            except self.nl.LensError as error:
                said.append(f"{name}: {error}")
                continue
            worked += 1
            self._check(bool(self.np.isfinite(found.weights).all()), f"{name} {found.weights}")
        reads = sum("reads the" in s for s in said)
        if len(said) > reads:
            raise self.nl.LensError("; ".join(said))
        return f"{worked} followed, {reads} read the input itself"

    def field(self) -> str:
        """Every input place with a gradient lies in the box of the middle neuron, and of one at the border.

        The statistics of GroupNorm and InstanceNorm stand fixed meanwhile, as receptive fields take them.
        """
        for name in self.layers:
            layer = self.net[name]
            field = self.nl.receptive_field(self.net, name)
            if field.whole or len(layer.layout.grid) != len(field.size):
                continue
            for place in (tuple(n // 2 for n in layer.layout.grid), tuple(0 for _ in layer.layout.grid)):
                seen = self._gradient(
                    lambda x, n=name, p=place: self.net[n].layout.maps(self._plain(n, x))[(0, slice(None), *p)].sum(),
                    fixed_statistics(),
                )
                if self.net.kind == "sequence":
                    seen = seen.max(1)
                where = self.np.argwhere(seen > 0)
                if len(where):
                    low, high = where.min(0), where.max(0) + 1
                    box, n = field.box(*place), len(place)
                    inside = (low >= self.np.array(box[:n])).all() and (high <= self.np.array(box[n:])).all()
                    self._check(bool(inside), f"{name}@{place}: {low}-{high} is not in {box}")
        return "inside"

    def examples(self) -> str:
        """The activation of the first is the largest that activations gives."""
        name = self.middle.name
        unit = f"{name}:{self.middle.channels // 2}"
        top = self.nl.dataset_examples(self.net, unit, self.pictures, k=2, progress=False).top[unit]
        most = max(self.nl.activations(self.net, p, name).maps[self.middle.channels // 2].max() for p in self.pictures)
        self._close(self.np.array(top[0].activation), self.np.array(most), unit)
        return f"{top[0]}, patch {top[0].patch.shape}"

    def embedding(self) -> str:
        """Of a few pictures, by principal components."""
        points = self.nl.embedding(self.net, self.pictures, self.middle.name, method="pca").points
        self._check(points.shape == (3, 2) and bool(self.np.isfinite(points).all()), f"{points}")
        return f"{points.shape}"

    # ---- plain torch ----

    def _class(self) -> int:
        """A class that there is evidence for: of dense answers one that wins somewhere."""
        scores = self.net.scores(self.x)
        if self.net.output_kind == "dense":
            return int(self.np.bincount(scores.argmax(0).ravel(), minlength=len(scores)).argmax())
        return min(1, len(scores) - 1)

    def _call(self, x: Any) -> Any:
        x = self.net.normalized(x).to(self.net.runner.dtype)
        inputs = self.given.get("inputs")
        arguments = x if inputs is None else inputs(x)
        if isinstance(arguments, dict):
            return self.model(**arguments)
        return self.model(*arguments) if isinstance(arguments, tuple) else self.model(arguments)

    def _plain(self, name: str, x: Any = None) -> Any:
        kept = []

        def keep(_module: Any, _inputs: Any, output: Any) -> None:
            kept.append(output[0] if isinstance(output, (tuple, list)) else output.clone())

        handle = self.net.module(name).register_forward_hook(keep)
        try:
            self._call(self.x[None] if x is None else x)
        finally:
            handle.remove()
        return kept[0]

    def _same_gradient(self, target: Any, score: Callable[[Any], Any]) -> str:
        """Saliency is the gradient of the score.

        A rectifier whose input is nearly 0 lets through or not by how float32 rounds. So a gradient that differs by no more
        than plain torch's does where pictures lie otherwise in memory is asked for once more in double precision.
        """
        own, expected = self.nl.attribute(self.net, self.x, target, "saliency"), self._gradient(score)
        try:
            self._close(own.map, expected, "gradient", 1e-2)
            return own.alt_text
        except Wrong:
            noise = self.np.abs(self._gradient(score, channels_last=True) - expected).max()
            if self.np.abs(own.map - expected).max() > 3 * noise:
                raise
        try:
            self.model.double()
            self.net = self.nl.Network(self.model, **self.given)
            own, expected = self.nl.attribute(self.net, self.x, target, "saliency"), self._gradient(score)
            self._close(own.map, expected, "gradient", 1e-2)
        finally:
            self.model.float()
            self.net = self.nl.Network(self.model, **self.given)
        return f"in double precision; in float32 plain torch differs from itself by {noise:.2g}. {own.alt_text}"

    def _gradient(self, score: Callable[[Any], Any], statistics: Any = None, channels_last: bool = False) -> Any:
        x = self.x[None].clone().requires_grad_()
        # The same kernels as far as they are right: others round otherwise, by which a rectifier near 0 lets through or not.
        on_cpu = self.net.device.type == "cpu"
        recurrent = any(isinstance(m, self.torch.nn.RNNBase) for m in self.model.modules())
        with (
            formulas() if on_cpu else nullcontext(),
            statistics or nullcontext(),
            self.torch.backends.cudnn.flags(enabled=not recurrent),  # which have no gradient in evaluation there
        ):
            formats = {4: self.torch.channels_last, 5: self.torch.channels_last_3d} if channels_last else {}
            lying = x.contiguous(memory_format=formats.get(x.ndim, self.torch.contiguous_format))
            (gradient,) = self.torch.autograd.grad(score(lying), x)
        size = gradient[0].abs()
        return (size.sum(0) if self.net.kind in ("picture", "signal", "volume") else size).numpy()

    def _close(self, own: Any, expected: Any, what: str, close: float = 1e-3) -> None:
        """close: of the largest number; gradients through hundreds of layers differ more by the order of their sums."""
        most = float(self.np.abs(expected).max()) if expected.size else 0.0
        if own.shape != expected.shape or not self.np.allclose(own, expected, rtol=close, atol=close * most + 1e-12):
            gap = self.np.abs(own - expected).max() if own.shape == expected.shape else f"{own.shape} {expected.shape}"
            raise Wrong(f"{what} differs by {gap} of {most}")

    def _check(self, right: bool, what: str) -> None:
        if not right:
            raise Wrong(what)

    def cells(self) -> Iterator[tuple[str, list[Any]]]:
        """Each question with [outcome, what was said, seconds]."""
        asked = {"class": self.class_evidence, "unit": self.unit_evidence}
        for question in QUESTIONS:
            start = time.perf_counter()
            try:
                outcome, said = "works", asked.get(question, getattr(self, question, None))()
            except self.nl.LensError as error:
                outcome, said = "says why", str(error)
            except Exception as error:
                outcome, said = "fault", f"{type(error).__name__}: {error}"
            yield question, [outcome, said[:400], round(time.perf_counter() - start, 2)]
            if question == "network" and outcome != "works":
                return


# ---- all of them ----


def run_one(name: str, device: str) -> None:
    """Prints a line of JSON per cell."""
    warnings.simplefilter("ignore")
    try:
        trial = Trial(name, device)
    except Exception as error:  # the model itself cannot be made here
        print(json.dumps(["network", ["not run", f"{type(error).__name__}: {error}"[:300], 0]]), flush=True)
        return
    for question, cell in trial.cells():
        print(json.dumps([question, cell]), flush=True)


def run_all(wanted: list[str], out: Path, limit: float, device: str, jobs: int) -> dict[str, dict[str, list[Any]]]:
    """Runs what the file does not have yet; a network's cells are kept as soon as it has ended."""
    results: dict[str, dict[str, list[Any]]] = json.loads(out.read_text()) if out.exists() else {}
    keeping = threading.Lock()

    def one(name: str) -> None:
        command = [sys.executable, __file__, "--one", name, "--device", device]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
            lines, why = done.stdout, "" if done.returncode == 0 else f"exit {done.returncode}: {done.stderr[-200:]}"
        except subprocess.TimeoutExpired as late:
            lines, why = (late.stdout or b"").decode(), f"more than {limit:.0f} s"
        cells = dict(json.loads(line) for line in lines.splitlines() if line.startswith("["))
        if "works" in cells.get("network", [""])[0] or not cells:
            cells |= {q: ["not run", why, 0] for q in QUESTIONS if q not in cells}
        with keeping:
            results[name] = cells
            out.write_text(json.dumps(results, indent=1))
            counts = Counter(cell[0] for cell in cells.values())
            print(f"{name:50} {dict(counts)}", flush=True)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, [name for name in wanted if name not in results]))
    return results


def table(results: dict[str, dict[str, list[Any]]]) -> str:
    """A column per question: how many networks' cells work, say why not, are faults, were not run."""
    lines = [f"{'':12}" + "".join(f"{q:>12}" for q in QUESTIONS) + f"{'all':>8}"]
    for outcome in ("works", "says why", "fault", "not run"):
        counts = [sum(cells.get(q, ["-"])[0] == outcome for cells in results.values()) for q in QUESTIONS]
        lines.append(f"{outcome:12}" + "".join(f"{n:12}" for n in counts) + f"{sum(counts):8}")
    for name, cells in results.items():
        lines += [f"{name}, {q}: {cell[0]}: {cell[1]}" for q, cell in cells.items() if cell[0] in ("fault", "says why")]
    return "\n".join(lines)


def main() -> None:
    """Runs the networks that are asked for, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--only", nargs="*", help="parts of names")
    parser.add_argument("--out", type=Path, default=Path("any_network.json"))
    parser.add_argument("--limit", type=float, default=300, help="seconds per network")
    parser.add_argument("--all", action="store_true", help="every model of torchvision")
    parser.add_argument("--device", default="cpu", help="where the models are")
    parser.add_argument("--jobs", type=int, default=1, help="networks at a time")
    options = parser.parse_args()
    if options.one:
        run_one(options.one, options.device)
        return
    wanted = [n for n in names(options.all) if not options.only or any(part in n for part in options.only)]
    print(table(run_all(wanted, options.out, options.limit, options.device, options.jobs)))


if __name__ == "__main__":
    main()
