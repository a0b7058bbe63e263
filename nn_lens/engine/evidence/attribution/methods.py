"""The seven methods of attribution, each a call of Captum.

A method takes a `Question` and its options, by name, and answers with `Evidence`. What is added to Captum's numbers is the
sum over channels, and the upsampling of Grad-CAM. Methods that hook modules work on a copy of the model.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from nn_lens.engine.evidence.attribution.occlusion import baseline_of, batch_of, windows
from nn_lens.engine.evidence.attribution.relu_modules import why_hooks_miss
from nn_lens.engine.evidence.attribution.targets import Answer, Question
from nn_lens.engine.network.network import Network
from nn_lens.errors import LensError, NetworkError, nearest, one_line


@dataclass(frozen=True)
class Evidence:
    """`channels` as Captum gives them, `map` (H,W) or (F,) of them; see `Attribution` for the rest."""

    channels: np.ndarray
    map: np.ndarray
    layer: str | None = None
    completeness_error: float | None = None


Method = Callable[..., Evidence]


def saliency(q: Question, *, abs: bool = True) -> Evidence:
    """The magnitude of the gradient; with abs=False its sign too. Simonyan et al., 2014, "Deep inside ..."."""
    from captum.attr import Saliency

    return _summed(Saliency(_answer(q)).attribute(_input(q), abs=bool(abs)))


def integrated_gradients(q: Question, *, baseline: Any = None, n_steps: int = 50) -> Evidence:
    """The gradient along the way from a baseline, times the way. Sundararajan et al., 2017, "Axiomatic attribution"."""
    from captum.attr import IntegratedGradients

    n_steps, start = _whole("n_steps", n_steps), baseline_of(q.net, baseline)
    answer = _answer(q)
    found = IntegratedGradients(answer).attribute(
        _input(q), baselines=start, n_steps=n_steps, internal_batch_size=batch_of(q.shape)
    )
    with torch.no_grad():
        way = q.value - float(answer(start))
    off = abs(float(found.detach().double().sum()) - way)
    return _summed(found, completeness_error=off / abs(way) if way else (float("inf") if off else 0.0))


def smooth_grad(
    q: Question, *, nt_samples: int = 5, stdevs: float = 0.15, abs: bool = False, seed: int = 0
) -> Evidence:
    """The mean gradient of noisy copies. Smilkov et al., 2017, "SmoothGrad"; noise of 10 to 20 % of the range."""
    from captum.attr import Saliency

    if not isinstance(stdevs, (int, float)) or not stdevs >= 0:
        raise LensError(f"stdevs is the noise's standard deviation, 0 or more, got {stdevs!r}.")
    n = _whole("nt_samples", nt_samples)
    # Captum's NoiseTunnel draws from the global generator, which belongs to the user's training.
    x = _input(q)
    noise = torch.randn(n, *x.shape[1:], generator=torch.Generator().manual_seed(seed)).to(x)
    method, each = Saliency(_answer(q)), batch_of(q.shape)
    parts = [method.attribute(noisy, abs=bool(abs)) for noisy in (x + float(stdevs) * noise).split(each)]
    found = torch.cat(parts).mean(0, keepdim=True)
    return _summed(found)


def grad_cam(q: Question, *, layer: str | None = None) -> Evidence:
    """A layer's channels weighted by their mean gradient. Selvaraju et al., 2017, "Grad-CAM"; without its last ReLU."""
    from captum.attr import LayerAttribution, LayerGradCam

    layer = _layer_of_maps(q, layer)
    q = _copy(q, "grad_cam")
    module, calls = _counted(q.net.module(layer))
    try:
        found = LayerGradCam(_answer(q), module).attribute(_input(q))
    except NetworkError:
        raise
    except Exception as error:
        raise LensError(
            f"grad_cam found no way from layer {layer!r} to {q.target.text}; name an earlier layer=. "
            f"{type(error).__name__}: {one_line(error)}"
        ) from error
    if len(calls) > 1:
        raise LensError(f"Layer {layer!r} is called {len(calls)} times, so it has no one map; name another layer=.")
    large = LayerAttribution.interpolate(found, q.shape[1:], "bilinear")
    return Evidence(_numbers(found[0]), _numbers(large[0, 0]), layer)


def guided_backprop(q: Question) -> Evidence:
    """The gradient, negative parts cut at each ReLU. Springenberg et al., 2015, "Striving for simplicity"."""
    return _with_rules(q, "guided_backprop", "GuidedBackprop")


def deconvolution(q: Question) -> Evidence:
    """The backward signal, rectified at each ReLU. Zeiler and Fergus, 2014, "Visualizing and understanding ..."."""
    return _with_rules(q, "deconvolution", "Deconvolution")


def occlusion(q: Question, *, window: Any = None, stride: Any = None, baseline: Any = None) -> Evidence:
    """How far the answer drops where a window is covered. Zeiler and Fergus, 2014, section 4.2."""
    from captum.attr import Occlusion

    plan, cover = windows(q.shape, window, stride), baseline_of(q.net, baseline)
    every_channel = q.shape[:1] if len(q.shape) == 3 else ()
    found = Occlusion(_answer(q)).attribute(
        q.picture.clone(),
        sliding_window_shapes=every_channel + plan.size,
        strides=every_channel + plan.stride,
        baselines=cover,
        perturbations_per_eval=batch_of(q.shape),
    )
    channels = _numbers(found[0])
    # A window covers all channels, so each holds the whole drop.
    return Evidence(channels, channels[0].copy() if channels.ndim == 3 else channels)


METHODS: dict[str, Method] = {
    method.__name__: method
    for method in (saliency, integrated_gradients, smooth_grad, grad_cam, guided_backprop, deconvolution, occlusion)
}
HOOKED = ("guided_backprop", "deconvolution")


def check_options(method: str, options: dict[str, Any]) -> None:
    """Nothing, if there is the method and it takes the options.

    Raises:
        LensError: there is not, or it does not; names those there are.
    """
    if method not in METHODS:
        near = nearest(str(method), METHODS)
        hint = f"did you mean {near[0]}? " if near else ""
        raise LensError(f"There is no method {method!r}; {hint}The methods are {', '.join(METHODS)}.")
    known = [name for name in inspect.signature(METHODS[method]).parameters if name != "q"]
    for name in options:
        if name not in known:
            has = f"its options are {', '.join(known)}" if known else "it has none"
            raise LensError(f"{method} has no option {name!r}; {has}.")


def evidence(q: Question, method: str, options: dict[str, Any]) -> Evidence:
    """What a method finds, without a trace on the model, the random state or the gradient mode.

    Raises:
        LensError: the method cannot be right on this network, or fails on it. NetworkError: the model fails.
    """
    with q.net.evaluation(), torch.inference_mode(False), torch.enable_grad():
        try:
            return METHODS[method](q, **options)
        except LensError:
            raise
        except Exception as error:
            raise LensError(f"{method} failed on {q.net.name}: {type(error).__name__}: {one_line(error)}") from error


# ---- helpers ----


def _with_rules(q: Question, method: str, name: str) -> Evidence:
    """Captum's `name`, which changes the backward pass of nn.ReLU modules."""
    import captum.attr

    original, q = q, _copy(q, method)
    for module in q.net.model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    answer = _answer(q)
    why = why_hooks_miss(q.net.model, lambda: answer(_input(q)))
    if why is None and not np.isclose(q.to(q.net).value, original.value, rtol=1e-3, atol=1e-6):
        why = "what its in-place ReLU modules write on is read again"
    if why is not None:
        maps = len(q.shape) == 3 and _layers_before(q.net, q.target.layer)
        right = [m for m in METHODS if m not in HOOKED and (maps or m != "grad_cam")]
        raise LensError(f"{method} cannot be right on {q.net.name}: {why}. Right on it are {', '.join(right)}.")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting backward hooks")
        return _summed(getattr(captum.attr, name)(answer).attribute(_input(q)))


def _copy(q: Question, method: str) -> Question:
    try:
        return q.to(q.net.frozen_copy())
    except NetworkError as error:
        right = [m for m in METHODS if m not in (*HOOKED, "grad_cam")]
        raise LensError(
            f"{method} needs hooks on the modules, and so a copy of the model, but {error} Without a copy work "
            f"{', '.join(right)}."
        ) from error


def _layer_of_maps(q: Question, layer: str | None) -> str:
    """The layer that Grad-CAM weighs: the one given, else the last with rows and columns before the target."""
    if len(q.shape) != 3:
        raise LensError(
            "grad_cam weighs activation maps, and this network reads vectors; "
            f"right on it are {', '.join(m for m in METHODS if m != 'grad_cam')}."
        )
    before = _layers_before(q.net, q.target.layer)
    if layer is None:
        if not before:
            raise LensError(
                f"grad_cam weighs activation maps, and no layer before {q.target.text} has rows and columns."
            )
        return before[-1]
    name = q.net[layer].name
    if not _has_maps(q.net, name):
        near = ", ".join(before[-3:]) or "none before the target"
        raise LensError(
            f"grad_cam weighs activation maps (N,C,H,W); layer {name!r} answers with {q.net[name].output_shape}. "
            f"Layers that do: {near}."
        )
    return name


def _layers_before(net: Network, target: str) -> list[str]:
    names = [layer.name for layer in net.layers]
    if target:
        names = [name for name in names[: names.index(target)] if not name.startswith(f"{target}.")]
    return [name for name in names if _has_maps(net, name)]


def _has_maps(net: Network, name: str) -> bool:
    layer = net[name]
    return layer.reason is None and layer.layout.kind == "maps" and layer.layout.grid != (1, 1)


def _counted(module: nn.Module) -> tuple[nn.Module, list[int]]:
    """The module, of a copy, and a list that grows with each of its calls."""
    calls: list[int] = []
    forward = module.forward

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return forward(*args, **kwargs)

    module.forward = counted
    return module, calls


def _answer(q: Question) -> Answer:
    return Answer(q.net, q.target)


def _input(q: Question) -> torch.Tensor:
    return q.picture.clone().requires_grad_()


def _summed(found: torch.Tensor, completeness_error: float | None = None) -> Evidence:
    channels = _numbers(found[0])
    map_ = channels.sum(0) if channels.ndim == 3 else channels
    return Evidence(channels, map_, completeness_error=completeness_error)


def _numbers(x: torch.Tensor) -> np.ndarray:
    numbers: np.ndarray = x.detach().float().cpu().numpy().copy()
    return numbers


def _whole(name: str, value: Any) -> int:
    if not isinstance(value, (int, np.integer)) or value < 1:
        raise LensError(f"{name} is a whole number, 1 or more, got {value!r}.")
    return int(value)
