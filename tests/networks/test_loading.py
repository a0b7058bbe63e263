"""Checkpoints become networks: what is taken off them, which architecture they fit, and what is said where none does."""

from __future__ import annotations

import copy
import json
from collections import OrderedDict

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

import nn_lens as nl
from nn_lens.networks import architectures

CLASSES = ["ant", "bee", "cat", "dog", "eel", "fox", "gnu"]


def small(classes: int = 5) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4), relu=nn.ReLU(), pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(), head=nn.Linear(4, classes),
        )
    )  # fmt: skip


class Counted(nn.Module):
    """A head that is made with as many classes as it is told."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(x).mean((2, 3)))


@pytest.fixture(scope="module")
def finetuned():
    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=7).eval()


@pytest.fixture(scope="module")
def light():
    """As small as any of torchvision's, for what is tried often."""
    torch.manual_seed(0)
    return torchvision.models.squeezenet1_1(num_classes=7).eval()


def saved(tmp_path, content, name="weights.pt"):
    torch.save(content, tmp_path / name)
    return tmp_path / name


def prefixed(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}


def same(net, model):
    """Whether a network answers as the model does, on what the network feeds it."""
    x = torch.rand(2, *net.input_shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return torch.equal(net.model(net.normalized(x)), model.eval()(net.normalized(x)))


# ---- torchvision's architectures ----


def test_a_finetuned_resnet_is_found_with_its_seven_classes(tmp_path, finetuned):
    net = nl.load(saved(tmp_path, finetuned.state_dict()))
    assert isinstance(net.model, torchvision.models.ResNet)
    assert net.model.fc.out_features == 7
    assert net.labels is None
    assert "weights of torchvision's resnet18 with 7 classes" in repr(net)
    assert net.input_shape == (3, 224, 224)
    assert not net.model.training
    assert same(net, finetuned)


WRAPPINGS = {
    "state_dict": lambda s: {"state_dict": s, "epoch": 3},
    "model and optimizer": lambda s: {"model": s, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
    "DDP": lambda s: {"model": prefixed(s, "module.")},
    "compiled": lambda s: prefixed(s, "_orig_mod."),
    "DDP of compiled": lambda s: prefixed(s, "module._orig_mod."),
    "Lightning": lambda s: {
        "state_dict": {**prefixed(s, "model."), "criterion.weight": torch.ones(7)},
        "pytorch-lightning_version": "2.5", "hyper_parameters": {"lr": 0.1},
    },
    "EMA": lambda s: {
        "model": {n: torch.zeros_like(t) for n, t in s.items()},
        "model_ema": {**prefixed(s, "module."), "n_averaged": torch.tensor(4)},
    },
    "one under a name of its own": lambda s: {"classifier_of_bees": s, "steps": 10},
    "half precision names": lambda s: OrderedDict(s),
}  # fmt: skip


@pytest.mark.parametrize("how", WRAPPINGS)
def test_what_training_loops_put_around_weights_is_taken_off(tmp_path, light, how):
    net = nl.load(saved(tmp_path, WRAPPINGS[how](light.state_dict())))
    assert "squeezenet1_1 with 7 classes" in repr(net)
    assert torch.equal(net.model.classifier[1].weight, light.classifier[1].weight)
    if how == "EMA":
        assert "under 'model_ema'" in repr(net)
        assert "names without 'module.', 1 others left out" in repr(net)


def test_names_of_classes_beside_the_weights_are_labels(tmp_path, light):
    state = light.state_dict()
    index = {name: i for i, name in enumerate(CLASSES)}
    for content in (
        {"state_dict": state, "classes": CLASSES},
        {"state_dict": state, "class_to_idx": index},
        {"state_dict": state, "idx_to_class": {str(i): n for n, i in index.items()}},
    ):
        assert nl.load(saved(tmp_path, content)).labels == tuple(CLASSES)
    other = nl.load(saved(tmp_path, {"state_dict": state, "classes": ["one", "two"]}))
    assert other.labels is None
    save_file(state, tmp_path / "a.safetensors", {"classes": json.dumps(CLASSES), "format": "pt"})
    assert nl.load(tmp_path / "a.safetensors").labels == tuple(CLASSES)


def test_a_thousand_classes_are_called_as_torchvision_calls_them(tmp_path):
    model = torchvision.models.squeezenet1_1()
    save_file(model.state_dict(), tmp_path / "squeeze.safetensors")
    net = nl.load(tmp_path / "squeeze.safetensors")
    assert net.labels[281] == "tabby"
    assert "normalized as ImageNet" in repr(net)
    assert "torchvision's squeezenet1_1, classes named as in torchvision's weights" in repr(net)


def test_a_file_that_is_torchvisions_own_is_known_by_its_digest(tmp_path, monkeypatch):
    """Its address ends in the first digits of its SHA-256, which is all that tells it."""
    import hashlib

    model = torchvision.models.squeezenet1_1()
    file = saved(tmp_path, model.state_dict())
    weights = torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:8]

    class Own:
        name, url, meta, transforms = (
            "OWN",
            f"https://host/squeezenet1_1-{digest}.pth",
            weights.meta,
            weights.transforms,
        )

    monkeypatch.setattr(architectures.Architecture, "weights", property(lambda self: [Own]))
    net = nl.load(file)
    assert "squeezenet1_1 OWN" in repr(net)
    assert "normalized as its weights say" in repr(net)
    assert net.labels[281] == "tabby"


@pytest.mark.parametrize("name", ["densenet121", "googlenet", "vit_b_32", "fcn_resnet50", "regnet_y_400mf", "r3d_18"])
def test_forms_and_former_names_are_known(tmp_path, name):
    """Former names as torchvision's published files have them; forms with and without auxiliary classifiers."""
    model = torchvision.models.get_model(name, weights=None, **({"weights_backbone": None} if "fcn" in name else {}))
    state = model.state_dict()
    shapes = {n: tuple(t.shape) for n, t in state.items()}
    if name == "densenet121":  # "norm.1.weight" in the file, "norm1.weight" today
        for layer in ("norm1", "norm2", "conv1", "conv2"):
            shapes = {
                n.replace(f".{layer}.", f".{layer[:-1]}.{layer[-1]}.") if "denselayer" in n else n: s
                for n, s in shapes.items()
            }
        assert "features.denseblock1.denselayer1.norm.1.weight" in shapes
        shapes = {n: s for n, s in architectures.renamed(shapes).items() if "num_batches" not in n}
    if name == "vit_b_32":
        shapes = {
            n.replace(".mlp.0.", ".mlp.linear_1.").replace(".mlp.3.", ".mlp.linear_2."): s for n, s in shapes.items()
        }
    found = architectures.find(shapes)
    assert [a.name for a in found.exact] == [name]
    options = dict(found.exact[0].options)
    assert options.get("aux_logits", options.get("aux_loss")) == {"googlenet": True, "fcn_resnet50": False}.get(name)


def test_several_that_match_are_named_with_the_line_to_write(tmp_path, monkeypatch, finetuned):
    twin = torchvision.models.resnet18

    def resnet18_twin(*, weights=None, progress=True, **kwargs):
        return twin(weights=weights, **kwargs)

    resnet18_twin.__module__ = twin.__module__
    known = torchvision.models._api.BUILTIN_MODELS
    monkeypatch.setitem(known, "resnet18_twin", resnet18_twin)
    file = saved(tmp_path, finetuned.state_dict())
    with pytest.raises(
        nl.LensError, match=r"several architectures.*like=lambda: torchvision\.models\.resnet18\(num_classes=7\)"
    ):
        nl.load(file)
    assert nl.load(file, like=lambda: torchvision.models.resnet18(num_classes=7)).model.fc.out_features == 7


def test_what_fits_none_is_told_the_nearest_and_what_differs(tmp_path, finetuned):
    state = dict(finetuned.state_dict())
    state["fc.1.weight"], state["fc.1.bias"] = state.pop("fc.weight"), state.pop("fc.bias")
    with pytest.raises(
        nl.LensError,
        match=r"nearest is torchvision's resnet18.*missing: fc\.weight, fc\.bias; unexpected: fc\.1\.weight.*like=",
    ):
        nl.load(saved(tmp_path, state))
    with pytest.raises(nl.LensError, match=r"weights \(9 tensors: 'conv\.weight'.*None comes near.*like=model"):
        nl.load(saved(tmp_path, small().state_dict()))
    narrow = torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [2, 2, 2, 2], width_per_group=64)
    narrow.conv1 = nn.Conv2d(1, 64, 7, bias=False)
    with pytest.raises(
        nl.LensError, match=r"nearest is torchvision's resnet18.*conv1\.weight \(64, 1, 7, 7\) for \(64, 3"
    ):
        nl.load(saved(tmp_path, narrow.state_dict()))


def test_the_random_state_stays(tmp_path, light):
    file = saved(tmp_path, light.state_dict())
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    nl.load(file)
    assert torch.equal(torch.rand(3), expected)


def test_published_weights(material):
    """Against torchvision itself, which has no code of ours: SqueezeNet 1.1, and one of 1.0 that others trained."""
    from PIL import Image
    from safetensors.torch import load_file
    from torchvision.transforms import functional

    file = material / "models" / "squeezenet1_1_torchvision.safetensors"
    net, plain = nl.load(file), torchvision.models.squeezenet1_1().eval()
    plain.load_state_dict(load_file(file))
    chelsea = functional.resize(Image.open(material / "images" / "chelsea.png"), 256, antialias=True)
    x = functional.to_tensor(functional.center_crop(chelsea, 224))
    with torch.no_grad():
        answer = plain(functional.normalize(x, *nl.IMAGENET)[None]).softmax(1)[0]
    label, share = net.predict(x, k=1)[0]
    assert label == "Egyptian cat"
    assert share == pytest.approx(float(answer.max()), abs=1e-4)
    assert "torchvision's squeezenet1_0," in repr(
        nl.load(material / "models" / "squeezenet1_0_deepcompression_rgb.safetensors")
    )
    for name in ("mnist_cnn_kerasjs", "fashion_crp"):
        with pytest.raises(nl.LensError, match="None comes near"):
            nl.load(material / "models" / f"{name}.safetensors")
    with pytest.raises(nl.LensError, match=r"a zip file that torch\.save has not written"):
        nl.load(material / "models" / "resnet50v2_conv1_7x7.npz")


# ---- like ----


def test_like_a_module_a_class_or_a_builder(tmp_path, monkeypatch):
    model = small()
    with torch.no_grad():
        model.conv.weight += 1
    file = saved(tmp_path, model.state_dict())
    mine = small()
    before = copy.deepcopy(mine.state_dict())
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "nets.py").write_text(
        "from collections import OrderedDict\nfrom torch import nn\n"
        "def build():\n    return nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4), "
        "relu=nn.ReLU(), pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), head=nn.Linear(4, 5)))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for like in (mine, nl.Network(mine, (3, 20, 28)), small, lambda: small(), "own_package.nets:build"):
        net = nl.load(file, like=like)
        assert torch.equal(net.model.conv.weight, model.conv.weight)
        assert net.model is not mine
    assert all(torch.equal(before[n], t) for n, t in mine.state_dict().items()), "the user's own stays as it was"
    wrapped = saved(tmp_path, {"state_dict": prefixed(model.state_dict(), "model.module.")})
    assert torch.equal(nl.load(wrapped, like=mine).model.conv.weight, model.conv.weight)


def test_what_takes_num_classes_is_made_with_those_of_the_weights(tmp_path, finetuned):
    torch.manual_seed(0)
    model = Counted(4)
    net = nl.load(saved(tmp_path, model.state_dict()), like=Counted)
    assert net.model.head.out_features == 4
    net = nl.load(saved(tmp_path, finetuned.state_dict()), like="torchvision.models:resnet18")
    assert net.model.fc.out_features == 7


@pytest.mark.parametrize(
    ("like", "says"),
    [
        (
            Counted(3),
            r"not those of Counted: unexpected: norm\.weight.* and 1 more; other shapes: head\.weight \(5, 4\) for \(3, 4\)",
        ),
        (3, "like is a module, a class or function.*got an int"),
        ("resnet18", r'"package\.module:builder".*got \'resnet18\''),
        ("no_such_package:net", "'no_such_package:net' cannot be imported.*ModuleNotFoundError"),
        ("torchvision.models:resnet19", "cannot be imported.*AttributeError"),
        (nn.Linear, r"Linear\(\) cannot be made \(TypeError.*like=lambda: Linear\(\.\.\.\)"),
        (lambda: 3, "gives an int, not a torch.nn.Module"),
    ],
)
def test_what_it_cannot_be_like_is_said(tmp_path, like, says):
    with pytest.raises(nl.LensError, match=says):
        nl.load(saved(tmp_path, small().state_dict()), like=like)


# ---- where files are ----


def test_paths_addresses_bytes_and_open_files(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    file = saved(tmp_path, small().state_dict())
    sources = [file, str(file), file.as_uri(), file.read_bytes()]
    with fsspec.open("memory://nn-lens/weights.pt", "wb") as memory:
        memory.write(file.read_bytes())
    for source in [*sources, "memory://nn-lens/weights.pt"]:
        assert torch.equal(nl.load(source, like=small).model.conv.weight, small().conv.weight)
    with file.open("rb") as opened:
        assert nl.load(opened, like=small).labels is None
    torch.save(small().state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(nl.load(tmp_path / "old.pth", like=small).model.conv.weight, small().conv.weight)


def test_files_that_are_none_are_named(tmp_path):
    saved(tmp_path, small().state_dict(), "bees.pt")
    with pytest.raises(nl.LensError, match=r"no file.*bee\.pt.*Did you mean 'bees\.pt'"):
        nl.load(tmp_path / "bee.pt")
    with pytest.raises(nl.LensError, match="It is a folder; pass one checkpoint"):
        nl.load(tmp_path)
    (tmp_path / "empty.pt").write_bytes(b"")
    with pytest.raises(nl.LensError, match=r"'empty\.pt' is empty"):
        nl.load(tmp_path / "empty.pt")
    (tmp_path / "cat.pt").write_bytes(b"\xff\xd8\xff\xe0 a photograph")
    with pytest.raises(nl.LensError, match=r"no checkpoint.*\.safetensors"):
        nl.load(tmp_path / "cat.pt")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (torch.ones(3), "holds a Tensor, and no weights"),
        ([1, 2], "holds a list, and no weights"),
        ({}, "an empty dictionary"),
        ({"epoch": 3, "lr": 0.1}, "a dictionary of 'epoch', 'lr', and no weights"),
        ({"generator": small().state_dict(), "judge": small().state_dict()}, "several networks: 'generator', 'judge'"),
    ],
)
def test_checkpoints_without_the_weights_of_one_network(tmp_path, content, says):
    with pytest.raises(nl.LensError, match=says):
        nl.load(saved(tmp_path, content))


def test_the_network_answers_as_the_model_whose_weights_were_saved(tmp_path):
    """Against torch itself, through the safetensors format too."""
    model = small().eval()
    with torch.no_grad():
        model.norm.running_mean += torch.arange(4) / 10
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    net = nl.load(tmp_path / "w.safetensors", like=small)
    x = torch.rand(3, *net.input_shape)
    with torch.no_grad():
        np.testing.assert_array_equal(net.scores(x[0]), model(x[:1])[0].numpy())
