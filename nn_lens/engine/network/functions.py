"""What the functions of torch do to a tensor, by name: one table for all who watch a forward pass.

A TorchFunctionMode sees every function that a model calls, in modules or outside, the in-place forms under names of
their own. What each watcher does about a kind is its own business; which function is of which kind stands here only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F

_TABLE = {
    # Element by element, and flat somewhere: there no gradient comes through.
    "rectifier": """relu relu_ relu6 hardtanh hardtanh_ clamp clamp_ clamp_min clamp_min_ clamp_max clamp_max_ clip clip_
        threshold _threshold threshold_ hardswish hardsigmoid hardshrink softshrink""",
    # Element by element, with a gradient everywhere.
    "saturating": """leaky_relu leaky_relu_ rrelu rrelu_ prelu elu elu_ selu selu_ celu celu_ gelu silu mish softplus
        softsign sigmoid sigmoid_ tanh tanh_ tanhshrink logsigmoid log_sigmoid""",
    # One of several tensors, or of halves of one, says how much of another comes through.
    "gate": "glu maximum minimum",
    "dropout": """dropout dropout_ dropout1d dropout2d dropout3d alpha_dropout alpha_dropout_ feature_dropout
        feature_dropout_ feature_alpha_dropout feature_alpha_dropout_""",
    "cast": "to float half double bfloat16 type",
    "batch_norm": "batch_norm",
    "norm": "instance_norm local_response_norm layer_norm group_norm rms_norm",
    # Of the places of a channel, each channel for itself.
    "pool": """max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices
        adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d adaptive_max_pool1d_with_indices
        adaptive_max_pool2d_with_indices adaptive_max_pool3d_with_indices avg_pool1d avg_pool2d avg_pool3d
        adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d lp_pool1d lp_pool2d""",
    "resize": "interpolate upsample",
    # Over whole dimensions: how pooling over all places is written without a pooling function.
    "reduction": "mean amax sum",
    # Elements are moved, repeated and joined; none becomes another number.
    "shape": """flatten unflatten view reshape view_as reshape_as permute transpose transpose_ t movedim moveaxis swapaxes
        swapdims squeeze squeeze_ unsqueeze unsqueeze_ contiguous clone detach cat concat concatenate stack chunk split
        tensor_split unbind narrow select index_select __getitem__ __get__ expand repeat pad flip roll channel_shuffle
        native_channel_shuffle pixel_shuffle pixel_unshuffle alias unfold expand_as broadcast_to tile
        repeat_interleave ravel gather hstack vstack dstack rot90""",
    "weighted": "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear",
    # Products and attention: channels are mixed, with numbers that need not be weights.
    "mixing": """matmul __matmul__ __rmatmul__ mm bmm addmm addbmm baddbmm einsum tensordot bilinear conv_tbc embedding
        lstm gru""",
    "attention": "scaled_dot_product_attention multi_head_attention_forward _native_multi_head_attention",
    # Of several tensors, or of one and numbers.
    "sum": "add add_ __add__ __iadd__ __radd__ sub sub_ subtract __sub__ __isub__ __rsub__ rsub",
    "scale": """mul mul_ multiply __mul__ __imul__ __rmul__ div div_ divide true_divide __truediv__ __itruediv__ neg neg_
        negative""",
}
_KINDS = {name: kind for kind, names in _TABLE.items() for name in names.split()}

NONLINEAR = frozenset({"rectifier", "saturating"})
"""Kinds that act element by element, and are no linear function."""

ELEMENTWISE = NONLINEAR | {"dropout", "cast"}
"""Kinds whose answer's elements are each made of the one at the same place."""

NORMS = frozenset({"batch_norm", "norm"})

WITHIN_CHANNELS = ELEMENTWISE | {"pool", "resize", "reduction"}
"""Kinds that mix no channels: what was one channel is one channel still, or the mean of one."""

PASSING = frozenset({"dropout", "cast", "pool", "resize", "reduction", "shape"})
"""Kinds that pass on what a rectifier answered: 0 where it was off, above 0 where any of it was on.

A mean is among them since that is how global average pooling is written where it is a function.
"""

MIXING = frozenset({"weighted", "mixing", "attention"})
"""Kinds that mix channels."""


def name_of(function: Callable[..., Any]) -> str:
    """What a function is called; "" for what has no name."""
    return str(getattr(function, "__name__", ""))


def kind_of(function: Callable[..., Any] | str) -> str:
    """The kind of a function, given as such or by its name; "other" for what the table does not know."""
    return _KINDS.get(function if isinstance(function, str) else name_of(function), "other")


def first_argument(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a function is applied to, which may be given by its name."""
    return args[0] if args else kwargs["input"]


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """The tensors in nested tuples, lists and dictionaries, in order."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for entry in value:
            yield from tensors(entry)
    elif isinstance(value, dict):
        yield from tensors(list(value.values()))


def mean_pool2d(
    input: torch.Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> torch.Tensor:  # fmt: skip
    """The mean over the windows of `max_pool2d`, which has the same arguments; (...,C,H,W) -> (...,C,h,w)."""
    if dilation in (1, (1, 1), [1, 1]):
        return F.avg_pool2d(input, kernel_size, stride or None, padding, ceil_mode)
    size = (kernel_size, kernel_size) if isinstance(kernel_size, int) else tuple(kernel_size)
    even = torch.full((1, 1, *size), 1 / (size[0] * size[1]), dtype=input.dtype, device=input.device)
    planes = input.reshape(-1, 1, *input.shape[-2:])
    pooled = F.conv2d(planes, even, None, stride or size, padding, dilation)
    return pooled.view(*input.shape[:-2], *pooled.shape[-2:])


def adaptive_mean_pool2d(input: torch.Tensor, output_size: Any, return_indices: bool = False) -> torch.Tensor:
    """The mean over the windows of `adaptive_max_pool2d`, which has the same arguments."""
    return F.adaptive_avg_pool2d(input, output_size)


def pooled_by_mean(function: Callable[..., Any], pool: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """What a max pooling function answers with `pool` in its place; where it gives indices too, they stay its own."""
    if not name_of(function).endswith("_with_indices"):
        return pool(*args, **kwargs)
    return pool(*args, **kwargs), function(*args, **kwargs)[1]
