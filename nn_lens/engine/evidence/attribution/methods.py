"""The methods of attribution, each a call of Captum but for Grad-CAM.

A method takes a `Subject` and its options, by name, and answers with `Evidence`. What is added to Captum's numbers is the
sum over channels. Methods that change the backward pass of modules work on a copy of the model.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from nn_lens.engine.evidence.attribution.found import Evidence, has_channels
from nn_lens.engine.evidence.attribution.grad_cam import grad_cam, layers_with_places
from nn_lens.engine.evidence.attribution.occlusion import baseline_of, batch_of, windows
from nn_lens.engine.evidence.attribution.path import start_of_path
from nn_lens.engine.evidence.attribution.relu_modules import why_hooks_miss
from nn_lens.engine.evidence.attribution.targets import Subject, TargetOutput
from nn_lens.engine.network.arrays import as_numpy
from nn_lens.engine.network.network import Network
from nn_lens.errors import LensError, NetworkError, nearest, one_line

Method = Callable[..., Evidence]


def saliency(subject: Subject, *, abs: bool = True) -> Evidence:
    """The magnitude of the gradient; with abs=False its sign too. Simonyan et al., 2014, "Deep inside ..."."""
    from captum.attr import Saliency

    return _summed(subject, Saliency(_output(subject)).attribute(_input(subject), abs=bool(abs)))


def integrated_gradients(subject: Subject, *, baseline: Any = None, n_steps: int = 50) -> Evidence:
    """The gradient along the way from a baseline, times the way. Sundararajan et al., 2017, "Axiomatic attribution"."""
    from captum.attr import IntegratedGradients

    n_steps = _whole("n_steps", n_steps)
    start, answer, note = start_of_path(subject, baseline)
    gradients = IntegratedGradients(_output(subject)).attribute(
        _input(subject), baselines=start, n_steps=n_steps, internal_batch_size=batch_of(subject)
    )
    way = subject.value - answer
    off = abs(float(gradients.detach().cpu().double().sum()) - way)
    return _summed(subject, gradients, off / abs(way) if way else (float("inf") if off else 0.0), note)


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
    method, each = Saliency(_output(subject)), batch_of(subject)
    parts = [method.attribute(noisy, abs=bool(abs)) for noisy in (x + float(stdevs) * noise).split(each)]
    return _summed(subject, torch.cat(parts).mean(0, keepdim=True))


def guided_backprop(subject: Subject) -> Evidence:
    """The gradient, negative parts cut at each ReLU. Springenberg et al., 2015, "Striving for simplicity"."""
    return _with_rules(subject, "guided_backprop", "GuidedBackprop")


def deconvolution(subject: Subject) -> Evidence:
    """The backward signal, rectified at each ReLU. Zeiler and Fergus, 2014, "Visualizing and understanding ..."."""
    return _with_rules(subject, "deconvolution", "Deconvolution")


def occlusion(subject: Subject, *, window: Any = None, stride: Any = None, baseline: Any = None) -> Evidence:
    """How far the answer drops where a window is covered. Zeiler and Fergus, 2014, section 4.2."""
    from captum.attr import Occlusion

    kind, shape = subject.net.kind, subject.shape
    plan, cover = windows(kind, shape, window, stride), baseline_of(subject, baseline)
    # A window covers all channels or features, so each holds the whole drop.
    before, behind = (shape[:1] if has_channels(kind) else ()), (shape[1:] if kind == "sequence" else ())
    drops = Occlusion(_output(subject)).attribute(
        subject.picture.clone(),
        sliding_window_shapes=before + plan.size + behind,
        strides=before + plan.stride + behind,
        baselines=cover,
        perturbations_per_eval=batch_of(subject),
    )
    channels = as_numpy(drops[0])
    return Evidence(channels, channels[0].copy() if has_channels(kind) else channels)


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
    known = _options(method)
    for name in options:
        if name not in known:
            has = f"its options are {', '.join(known)}" if known else "it has none"
            raise LensError(f"{method} has no option {name!r}; {has}.")


def evidence(subject: Subject, method: str, options: dict[str, Any]) -> Evidence:
    """What a method finds, without a trace on the model, the random state or the gradient mode.

    Raises:
        LensError: the method is not valid for this network, or fails on it. NetworkError: the model fails.
    """
    net = subject.net
    with with_gradients(net):
        try:
            found = METHODS[method](subject, **options)
        except (LensError, torch.cuda.OutOfMemoryError):  # of memory, evaluation says the way out
            raise
        except Exception as error:
            raise LensError(f"{method} failed on {net.name}: {type(error).__name__}: {one_line(error)}") from error
    bad = ~np.isfinite(found.map)
    if bad.any():
        way = "; baseline= may name an input that has an answer" if "baseline" in _options(method) else ""
        raise LensError(
            f"{method} finds NaN or infinity at {int(bad.sum())} of {bad.size} places of this {net.kind}: the network has "
            f"no finite answer or gradient there{way}."
        )
    return found


@contextmanager
def with_gradients(net: Network) -> Iterator[None]:
    """The model in evaluation, and gradients on, whatever the caller's mode."""
    with net.evaluation(), torch.inference_mode(False), torch.enable_grad():
        yield


# ---- helpers ----


def _options(method: str) -> list[str]:
    return list(inspect.signature(METHODS[method]).parameters)[1:]  # the first is the subject


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
        maps = subject.net.kind != "vector" and layers_with_places(subject)
        valid = [m for m in METHODS if m not in HOOKED and (maps or m != "grad_cam")]
        raise LensError(f"{method} is not valid for {subject.net.name}: {why}. Valid methods: {', '.join(valid)}.")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting backward hooks")
        return _summed(subject, getattr(captum.attr, name)(output).attribute(_input(subject)))


def _copy(subject: Subject, method: str) -> Subject:
    try:
        return subject.to(subject.net.frozen_copy())
    except NetworkError as error:
        raise LensError(
            f"{method} needs hooks on the modules, and so a copy of the model, but {error} Without a copy work "
            f"{', '.join(m for m in METHODS if m not in HOOKED)}."
        ) from error


def _output(subject: Subject) -> TargetOutput:
    return TargetOutput(subject.net, subject.target)


def _input(subject: Subject) -> torch.Tensor:
    return subject.picture.clone().requires_grad_()


def _summed(
    subject: Subject, attributed: torch.Tensor, completeness_error: float | None = None, note: str = ""
) -> Evidence:
    """The evidence of each number of the input, and its sum over channels."""
    channels = as_numpy(attributed[0])
    map_ = channels.sum(0) if has_channels(subject.net.kind) else channels
    return Evidence(channels, map_, completeness_error=completeness_error, note=note)


def _whole(name: str, value: Any) -> int:
    if not isinstance(value, (int, np.integer)) or value < 1:
        raise LensError(f"{name} is a whole number, 1 or more, got {value!r}.")
    return int(value)
