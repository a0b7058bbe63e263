"""The methods of attribution, each a call of Captum.

A method takes a `Subject` and its options, by name, and answers with `Evidence`. What is added to Captum's numbers is the
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
from nn_lens.engine.evidence.attribution.targets import Subject, TargetOutput
from nn_lens.engine.network.arrays import as_numpy
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


def saliency(subject: Subject, *, abs: bool = True) -> Evidence:
    """The magnitude of the gradient; with abs=False its sign too. Simonyan et al., 2014, "Deep inside ..."."""
    from captum.attr import Saliency

    return _sum_channels(Saliency(_output(subject)).attribute(_input(subject), abs=bool(abs)))


def integrated_gradients(subject: Subject, *, baseline: Any = None, n_steps: int = 50) -> Evidence:
    """The gradient along the way from a baseline, times the way. Sundararajan et al., 2017, "Axiomatic attribution"."""
    from captum.attr import IntegratedGradients

    n_steps, start = _whole("n_steps", n_steps), baseline_of(subject.net, baseline)
    output = _output(subject)
    gradients = IntegratedGradients(output).attribute(
        _input(subject), baselines=start, n_steps=n_steps, internal_batch_size=batch_of(subject.shape)
    )
    with torch.no_grad():
        way = subject.value - float(output(start))
    off = abs(float(gradients.detach().double().sum()) - way)
    return _sum_channels(gradients, completeness_error=off / abs(way) if way else (float("inf") if off else 0.0))


def smooth_grad(
    subject: Subject, *, nt_samples: int = 5, stdevs: float = 0.15, abs: bool = False, seed: int = 0
) -> Evidence:
    """The mean gradient of noisy copies. Smilkov et al., 2017, "SmoothGrad"; noise of 10 to 20 % of the range."""
    from captum.attr import Saliency

    if not isinstance(stdevs, (int, float)) or not stdevs >= 0:
        raise LensError(f"stdevs is the noise's standard deviation, 0 or more, got {stdevs!r}.")
    n = _whole("nt_samples", nt_samples)
    # Captum's NoiseTunnel draws from the global generator, which belongs to the user's training.
    x = _input(subject)
    noise = torch.randn(n, *x.shape[1:], generator=torch.Generator().manual_seed(seed)).to(x)
    method, each = Saliency(_output(subject)), batch_of(subject.shape)
    parts = [method.attribute(noisy, abs=bool(abs)) for noisy in (x + float(stdevs) * noise).split(each)]
    return _sum_channels(torch.cat(parts).mean(0, keepdim=True))


def grad_cam(subject: Subject, *, layer: str | None = None) -> Evidence:
    """A layer's channels weighted by their mean gradient. Selvaraju et al., 2017, "Grad-CAM"; without its last ReLU."""
    from captum.attr import LayerAttribution, LayerGradCam

    layer = _layer_of_maps(subject, layer)
    subject = _copy(subject, "grad_cam")
    module, calls = _count_calls(subject.net.module(layer))
    try:
        small = LayerGradCam(_output(subject), module).attribute(_input(subject))
    except NetworkError:
        raise
    except Exception as error:
        raise LensError(
            f"grad_cam found no way from layer {layer!r} to {subject.target.text}; name an earlier layer=. "
            f"{type(error).__name__}: {one_line(error)}"
        ) from error
    if len(calls) > 1:
        raise LensError(f"Layer {layer!r} is called {len(calls)} times, so it has no one map; name another layer=.")
    large = LayerAttribution.interpolate(small, subject.shape[1:], "bilinear")
    return Evidence(as_numpy(small[0]), as_numpy(large[0, 0]), layer)


def guided_backprop(subject: Subject) -> Evidence:
    """The gradient, negative parts cut at each ReLU. Springenberg et al., 2015, "Striving for simplicity"."""
    return _with_rules(subject, "guided_backprop", "GuidedBackprop")


def deconvolution(subject: Subject) -> Evidence:
    """The backward signal, rectified at each ReLU. Zeiler and Fergus, 2014, "Visualizing and understanding ..."."""
    return _with_rules(subject, "deconvolution", "Deconvolution")


def occlusion(subject: Subject, *, window: Any = None, stride: Any = None, baseline: Any = None) -> Evidence:
    """How far the answer drops where a window is covered. Zeiler and Fergus, 2014, section 4.2."""
    from captum.attr import Occlusion

    plan, cover = windows(subject.shape, window, stride), baseline_of(subject.net, baseline)
    every_channel = subject.shape[:1] if len(subject.shape) == 3 else ()
    drops = Occlusion(_output(subject)).attribute(
        subject.picture.clone(),
        sliding_window_shapes=every_channel + plan.size,
        strides=every_channel + plan.stride,
        baselines=cover,
        perturbations_per_eval=batch_of(subject.shape),
    )
    channels = as_numpy(drops[0])
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
    known = list(inspect.signature(METHODS[method]).parameters)[1:]  # the first is the subject
    for name in options:
        if name not in known:
            has = f"its options are {', '.join(known)}" if known else "it has none"
            raise LensError(f"{method} has no option {name!r}; {has}.")


def evidence(subject: Subject, method: str, options: dict[str, Any]) -> Evidence:
    """What a method finds, without a trace on the model, the random state or the gradient mode.

    Raises:
        LensError: the method is not valid for this network, or fails on it. NetworkError: the model fails.
    """
    with subject.net.evaluation(), torch.inference_mode(False), torch.enable_grad():
        try:
            return METHODS[method](subject, **options)
        except LensError:
            raise
        except Exception as error:
            raise LensError(
                f"{method} failed on {subject.net.name}: {type(error).__name__}: {one_line(error)}"
            ) from error


# ---- helpers ----


def _with_rules(subject: Subject, method: str, name: str) -> Evidence:
    """Captum's `name`, which changes the backward pass of nn.ReLU modules."""
    import captum.attr

    original, subject = subject, _copy(subject, method)
    for module in subject.net.model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    output = _output(subject)
    why = why_hooks_miss(subject.net.model, lambda: output(_input(subject)))
    if why is None and not np.isclose(subject.to(subject.net).value, original.value, rtol=1e-3, atol=1e-6):
        why = "what its in-place ReLU modules write on is read again"
    if why is not None:
        maps = len(subject.shape) == 3 and _layers_before(subject.net, subject.target.layer)
        valid = [m for m in METHODS if m not in HOOKED and (maps or m != "grad_cam")]
        raise LensError(f"{method} is not valid for {subject.net.name}: {why}. Valid methods: {', '.join(valid)}.")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting backward hooks")
        return _sum_channels(getattr(captum.attr, name)(output).attribute(_input(subject)))


def _copy(subject: Subject, method: str) -> Subject:
    try:
        return subject.to(subject.net.frozen_copy())
    except NetworkError as error:
        others = [m for m in METHODS if m not in (*HOOKED, "grad_cam")]
        raise LensError(
            f"{method} needs hooks on the modules, and so a copy of the model, but {error} Without a copy work "
            f"{', '.join(others)}."
        ) from error


def _layer_of_maps(subject: Subject, layer: str | None) -> str:
    """The layer that Grad-CAM weighs: the one given, else the last with rows and columns before the target."""
    if len(subject.shape) != 3:
        raise LensError(
            "grad_cam weighs activation maps, and this network reads vectors; "
            f"valid methods: {', '.join(m for m in METHODS if m != 'grad_cam')}."
        )
    before = _layers_before(subject.net, subject.target.layer)
    if layer is None:
        if not before:
            raise LensError(
                f"grad_cam weighs activation maps, and no layer before {subject.target.text} has rows and columns."
            )
        return before[-1]
    name = subject.net[layer].name
    if not _has_maps(subject.net, name):
        near = ", ".join(before[-3:]) or "none before the target"
        raise LensError(
            f"grad_cam weighs activation maps (N,C,H,W); layer {name!r} answers with {subject.net[name].output_shape}. "
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


def _count_calls(module: nn.Module) -> tuple[nn.Module, list[int]]:
    """The module, of a copy, and a list that grows with each of its calls."""
    calls: list[int] = []
    forward = module.forward

    def count(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return forward(*args, **kwargs)

    module.forward = count
    return module, calls


def _output(subject: Subject) -> TargetOutput:
    return TargetOutput(subject.net, subject.target)


def _input(subject: Subject) -> torch.Tensor:
    return subject.picture.clone().requires_grad_()


def _sum_channels(attributed: torch.Tensor, completeness_error: float | None = None) -> Evidence:
    channels = as_numpy(attributed[0])
    map_ = channels.sum(0) if channels.ndim == 3 else channels
    return Evidence(channels, map_, completeness_error=completeness_error)


def _whole(name: str, value: Any) -> int:
    if not isinstance(value, (int, np.integer)) or value < 1:
        raise LensError(f"{name} is a whole number, 1 or more, got {value!r}.")
    return int(value)
