"""What functions do to marks: of those that are met often by rule, of others by poison."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from nn_lens.engine.network.functions import tensors
from nn_lens.engine.network.reach import poison, windows
from nn_lens.engine.network.reach.call import Call, Chosen, Seen
from nn_lens.engine.network.reach.marks import Marks, as_marks, broadcast, join, require


def follow(call: Call) -> Any:
    """The marks of what a function answers, in tuples and lists as it does; what has none as it is."""
    name = call.name
    if name in _RULES:
        return _RULES[name](call)
    if call.signature.is_view or name in TURNS:
        return _moved(call)
    if name in _QUESTIONS or name.startswith("new_") or name.endswith("_like"):
        return call.on_examples()
    if call.signature.is_elementwise:
        return _elementwise(call)
    return poison.poison(call)


# ---- element by element ----


def _elementwise(call: Call) -> Any:
    marks = call.marks()
    shapes = [tuple(v.shape) for v in call.a.values() if isinstance(v, torch.Tensor)]
    alone = len(marks) == 1 and all(shape in ((), marks[0].shape) for shape in shapes)
    return _first(call, marks[0] if alone else join(marks, shapes))


def _first(call: Call, marks: Marks) -> Any:
    """Marks of the first answer; of others, which models do not use in evaluation, there is nothing."""
    rest = call.signature.answers - 1
    return (marks, *(torch.empty(0) for _ in range(rest))) if rest > 0 and not call.signature.written else marks


def _identity(call: Call) -> Any:
    return _first(call, call.marks()[0])


def _cast(call: Call) -> Any:
    dtype = call.get("dtype")
    return call.on_examples() if dtype is not None and not dtype.is_floating_point else call.marks()[0]


def _nothing(call: Call) -> Marks:
    own, value = call.marks()[0], call.get("value")
    shape = tuple(call.a["self"].shape)
    return value.expand(shape) if isinstance(value, Marks) else Marks.none(shape, own.core)


def _copied(call: Call) -> Marks:
    source = call.a["src"]
    own = call.marks()[0]
    return (source if isinstance(source, Marks) else Marks.none(source.shape, own.core)).expand(
        tuple(call.a["self"].shape)
    )


def _where(call: Call) -> Marks:
    """What is taken where; both, where the input decides."""
    condition, like = call.a["condition"], call.marks()[0].core
    this, other = (as_marks(call.a[k], like) for k in ("self", "other"))
    if isinstance(condition, (Marks, Chosen)):
        return join(call.marks(), [condition.shape, this.shape, other.shape])
    shape = broadcast([condition.shape, this.shape, other.shape])
    require(math.prod(broadcast([condition.shape, this.core.shape, other.core.shape])))
    core = torch.where(condition, this.core, other.core)
    return Marks(core.reshape([1] * (len(shape) - core.dim()) + list(core.shape)), tuple(shape))


def _masked_fill(call: Call) -> Marks:
    """Where the input decides, both may be."""
    own, mask = as_marks(call.a["self"], call.marks()[0].core), call.a["mask"]
    if isinstance(mask, (Marks, Chosen)):
        return join(call.marks(), [own.shape])
    value = as_marks(call.get("value"), own.core)
    require(math.prod(broadcast([mask.shape, value.core.shape, own.core.shape])))
    core = torch.where(mask, value.core, own.core)
    return Marks(core.reshape([1] * (len(own.shape) - core.dim()) + list(core.shape)), own.shape)


def _glu(call: Call) -> Marks:
    x, dim = call.a["self"], call.get("dim", -1)
    require(math.prod(x.shape))
    a, b = (x.full().narrow(dim, half * x.shape[dim] // 2, x.shape[dim] // 2) for half in (0, 1))
    return join([Marks.of(a), Marks.of(b)])


# ---- moved ----


def _moved(call: Call) -> Any:
    """What a function that moves elements, and changes none, makes of the marks themselves."""
    like = call.marks()[0].core
    if any(isinstance(t, Chosen) for t in tensors([call.args, call.kwargs])):
        return _anywhere(call)
    if not call.signature.is_view:
        require(sum(math.prod(m.shape) for m in call.marks()))
    given = iter(call.marks())

    def own(tensor: torch.Tensor) -> torch.Tensor:
        if isinstance(tensor, Seen):
            return next(given).full()
        return like.new_zeros(()).expand(tensor.shape) if tensor.is_floating_point() else tensor

    return _as_found(call.on(own))


def _as_found(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_as_found(v) for v in value]
    return Marks.of(value)


def _anywhere(call: Call) -> Any:
    """Elements that the input chooses may be any."""
    answer = call.on_examples()
    everything = join([m.most() for m in call.marks()])
    own: Any = call.a.get("self")
    if call.signature.written or call.name.startswith(("index_put", "scatter", "index_add", "index_copy")):
        return join([own, everything]) if isinstance(own, Marks) else everything.expand(tuple(own.shape))
    return everything.expand(tuple(answer.shape))


def _view(call: Call) -> Marks:
    return call.a["self"].reshape(call.a["size"])  # type: ignore[no-any-return]


def _cat(call: Call) -> Marks:
    several = call.a["tensors"]
    like = call.marks()[0].core
    parts = [as_marks(t, like) for t in several if tuple(t.shape) != (0,)]
    dim = call.get("dim", 0) % len(parts[0].shape)
    spread = [any(p.core.shape[d] > 1 for p in parts) or d == dim for d in range(len(parts[0].shape))]
    cores = [p.spread([d for d, s in enumerate(spread) if s]) for p in parts]
    require(sum(core.numel() for core in cores))
    shape = [sum(p.shape[dim] for p in parts) if d == dim else n for d, n in enumerate(parts[0].shape)]
    return Marks(torch.cat(cores, dim), tuple(shape)).tidy()


def _stack(call: Call) -> Marks:
    like = call.marks()[0].core
    dim = call.get("dim", 0)
    parts = [as_marks(t, like) for t in call.a["tensors"]]
    dim %= len(parts[0].shape) + 1
    call.a["tensors"] = [p.reshape([*p.shape[:dim], 1, *p.shape[dim:]]) for p in parts]
    call.a["dim"] = dim
    return _cat(call)


def _along_dims(call: Call) -> Marks:
    """Functions that move elements along `dim` or `dims` only."""
    x: Marks = call.a["self"]
    given: Any = call.a.get("dims", call.a.get("dim"))
    if given in ((), []):
        return _moved(call)  # type: ignore[no-any-return]
    dims = [d % len(x.shape) for d in ((given,) if isinstance(given, int) else given)]
    index = call.get("index")
    if isinstance(index, Chosen):
        shape = [len(index) if d in dims else n for d, n in enumerate(x.shape)]
        return x.most(dims, keepdim=True).expand(tuple(shape))
    require(x.spread(dims).numel())
    core = call.on(lambda t: x.spread(dims) if isinstance(t, Seen) else t)
    shape = [core.shape[d] if d in dims else n for d, n in enumerate(x.shape)]
    return Marks(core, tuple(shape)).tidy()


def _index(call: Call) -> Marks:
    """Advanced indexing; by one list of places along one dimension, along that dimension only."""
    x, indices = call.a["self"], list(call.a["indices"])
    used = [d for d, i in enumerate(indices) if i is not None]
    if (
        len(used) == 1
        and indices[used[0]].dim() == 1
        and indices[used[0]].dtype == torch.long
        and not isinstance(indices[used[0]], Chosen)
    ):
        index = indices[used[0]]
        return x.pick(used[0], index.remainder(x.shape[used[0]]))  # type: ignore[no-any-return]
    return _moved(call)  # type: ignore[no-any-return]


def _put(call: Call) -> Any:
    """Elements written among others; sums of both where they are added."""
    found = _moved(call)
    adds = call.get("accumulate", False) or "add" in call.name or "reduce" in call.name
    own = call.a["self"]
    return join([found, own]) if adds and isinstance(own, Marks) else found


def _pixel_shuffle(call: Call) -> Marks:
    x, r = call.a["self"], int(call.a["upscale_factor"])
    *batch, c, h, w = x.shape
    parts = x.reshape([*batch, c // r**2, r, r, h, w])
    n = len(batch)
    core = parts.core.permute(*range(n + 1), n + 3, n + 1, n + 4, n + 2)
    shape = (*batch, c // r**2, h, r, w, r)
    return Marks(core, shape).reshape([*batch, c // r**2, h * r, w * r])


def _pixel_unshuffle(call: Call) -> Marks:
    x, r = call.a["self"], int(call.a["downscale_factor"])
    *batch, c, h, w = x.shape
    parts = x.reshape([*batch, c, h // r, r, w // r, r])
    n = len(batch)
    core = parts.core.permute(*range(n + 1), n + 2, n + 4, n + 1, n + 3)
    return Marks(core, (*batch, c, r, r, h // r, w // r)).reshape([*batch, c * r**2, h // r, w // r])


# ---- over dimensions ----


def _reduced(call: Call) -> Any:
    x: Marks = call.a["self"]
    dims = call.get("dim")
    marks = x.most(None if dims is None else dims, bool(call.get("keepdim", False)))
    rest = call.signature.answers - 1
    if call.name in ("var_mean", "std_mean", "aminmax"):
        return marks, marks
    return (
        (marks, *(torch.zeros(marks.shape, dtype=torch.long, device=marks.core.device) for _ in range(rest)))
        if rest
        else marks
    )


def _spread_over(call: Call) -> Any:
    """Each element answers for all along a dimension, as in a softmax."""
    x: Marks = call.a["self"]
    marks = x.as_most(call.get("dim", -1))
    return (marks, call.on_examples()[1]) if call.signature.answers > 1 else marks


def _topk(call: Call) -> Any:
    answer = call.on_examples()
    x, dim = call.a["self"], call.get("dim", -1)
    return x.most(dim, keepdim=True).expand(tuple(answer[0].shape)), answer[1]


def _cumulated(call: Call) -> Any:
    """Each element of those up to it along a dimension."""
    x, dim = call.a["self"], call.a["dim"]
    marks = Marks(x.core.cummax(dim).values, x.shape)
    return (marks, call.on_examples()[1]) if call.signature.answers > 1 else marks


# ---- products ----


def _product(a: Any, b: Any, like: torch.Tensor) -> Marks:
    """(...,n,k) times (...,k,m)."""
    left, right = as_marks(a, like), as_marks(b, like)
    shape = (*left.shape[:-1], right.shape[-1])
    return join([left.most(-1, keepdim=True), right.most(-2, keepdim=True)], [shape])


def _matmul(call: Call) -> Marks:
    return _product(call.a["self"], call.get("mat2"), call.marks()[0].core)


def _added_matmul(call: Call) -> Marks:
    like = call.marks()[0].core
    a, b = (call.get("mat1"), call.get("mat2")) if "mat1" in call.a else (call.get("batch1"), call.get("batch2"))
    product = _product(a, b, like)
    return join([as_marks(call.a["self"], like), product])


def _dot(call: Call) -> Marks:
    """Products with vectors."""
    if call.name == "addmv":
        return join([m.most() for m in call.marks()], [(call.a["mat"].shape[0],)])
    like = call.marks()[0].core
    own, vector = (as_marks(t, like) for t in (call.a["self"], call.a.get("vec", call.a.get("tensor"))))
    return join([own.most(-1), vector.most()])


def attention(query: Any, key: Any, value: Any, mask: torch.Tensor | None, is_causal: bool) -> Marks:
    """Each query reads the keys and values that the mask lets it: those up to its own, where attention is causal."""
    like = next(m for m in (query, key, value) if isinstance(m, Marks)).core
    q, k, v = (as_marks(m, like) for m in (query, key, value))
    read = join([k.most(-1, keepdim=True), v.most(-1, keepdim=True)])
    if is_causal:
        mask = torch.ones(q.shape[-2], read.shape[-2], dtype=torch.bool, device=like.device).tril()
    if mask is None:
        read = read.most(-2, keepdim=True)
    else:
        allowed = mask if mask.dtype == torch.bool else mask > -torch.inf
        keys = read.spread([len(read.shape) - 2]).mT
        require(math.prod(broadcast([allowed.shape, keys.shape])))
        core = torch.where(allowed, keys, 0).amax(-1, keepdim=True)
        read = Marks(core, (*read.shape[:-2], q.shape[-2], 1))
    return join([q.most(-1, keepdim=True), read], [(*q.shape[:-1], v.shape[-1])])


def _attention(call: Call) -> Any:
    marks = attention(call.a["query"], call.a["key"], call.a["value"], None, bool(call.get("is_causal", False)))
    return _first(call, marks)


def _everything(call: Call) -> Any:
    """Whole layers in one function: each element reads all of its sample, and what belongs to no sample."""
    first, *rest = call.marks()
    same = [m.shape[0] == first.shape[0] and len(m.shape) == len(first.shape) for m in rest]
    read = [m.most(range(1, len(m.shape)), True) if own else m.most() for m, own in zip(rest, same, strict=True)]
    return _first(call, join([first.as_most(range(1, len(first.shape))), *read]))


def _table(*rules: tuple[str, Callable[[Call], Any]]) -> dict[str, Callable[[Call], Any]]:
    return {name: rule for names, rule in rules for name in names.split()}


TURNS = frozenset("transpose t squeeze unsqueeze swapaxes swapdims".split())  # may be in place, and change the shape
_QUESTIONS = frozenset(
    """eq ne lt le gt ge isnan isinf isfinite isposinf isneginf isclose signbit logical_and logical_or logical_xor
    logical_not bitwise_and bitwise_or bitwise_xor bitwise_not argmax argmin argsort nonzero any all equal
    _local_scalar_dense is_nonzero""".split()
)
_RULES = _table(
    ("""native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm
        miopen_batch_norm _batch_norm_no_update _batch_norm_with_update batch_norm_with_update native_layer_norm
        native_group_norm _fused_rms_norm native_dropout clone alias detach contiguous rrelu_with_noise""", _identity),
    ("_to_copy to", _cast),
    ("fill zero normal uniform bernoulli exponential log_normal cauchy geometric random", _nothing),
    ("copy", _copied),
    ("where", _where),
    ("masked_fill", _masked_fill),
    ("glu", _glu),
    ("view _unsafe_view reshape _reshape_copy view_copy", _view),
    ("cat", _cat),
    ("stack", _stack),
    ("flip roll index_select", _along_dims),
    ("index _unsafe_index", _index),
    ("index_put _unsafe_index_put index_add scatter scatter_add scatter_reduce index_copy slice_scatter select_scatter "
     "masked_scatter diagonal_scatter as_strided_scatter", _put),
    ("gather take repeat im2col tril triu unfold_copy channel_shuffle native_channel_shuffle rot90 as_strided "
     "repeat_interleave diag_embed unsafe_split unsafe_split_with_sizes unsafe_chunk split_with_sizes_copy split_copy", _moved),
    ("pixel_shuffle", _pixel_shuffle),
    ("pixel_unshuffle", _pixel_unshuffle),
    ("""sum mean amax amin prod var std var_mean std_mean norm linalg_vector_norm logsumexp nansum max min aminmax
        median nanmedian mode""", _reduced),
    ("_softmax _log_softmax softmax log_softmax _safe_softmax sort", _spread_over),
    ("topk kthvalue", _topk),
    ("cumsum cumprod logcumsumexp cummax cummin", _cumulated),
    ("mm bmm", _matmul),
    ("addmm _addmm_activation baddbmm", _added_matmul),
    ("mv dot vdot addmv", _dot),
    ("""_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention
        _scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention
        _scaled_dot_product_fused_attention_overrideable _scaled_dot_product_attention_math""", _attention),
    ("_native_multi_head_attention _transformer_encoder_layer_fwd _cudnn_rnn miopen_rnn", _everything),
    ("convolution _convolution convolution_overrideable", windows.convolution),
    ("""max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices max_pool1d max_pool2d max_pool3d
        mkldnn_max_pool2d mkldnn_max_pool3d avg_pool1d avg_pool2d avg_pool3d""", windows.pool),
    ("""_adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
        adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d""", windows.adaptive_pool),
    ("max_unpool2d max_unpool3d", windows.unpool),
    ("""upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d
        _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d
        _upsample_bilinear2d_aa _upsample_bicubic2d_aa _upsample_lanczos2d_aa""", windows.upsample),
    ("reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d",
     windows.pad_edges),
    ("constant_pad_nd", windows.pad_zeros),
    ("grid_sampler_2d grid_sampler_3d", poison.grid_sample),
    ("col2im", poison.linear),
)  # fmt: skip
