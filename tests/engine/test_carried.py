"""What a model carries of its own training is read and used: input, normalization, names; and labels in every form."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
import zoo
from torch import nn

import nn_lens as nl
from nn_lens.engine.network.carried import Carried, carried_by


def model(classes=3):
    return zoo.picture(nn.Linear(8, classes)).eval()


def normalized(network, x, mean, std):
    mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (mean, std))
    return network((x[None] - mean) / std)[0].detach()


def test_timms_pretrained_cfg():
    own = model()
    own.pretrained_cfg = {
        "input_size": (3, 40, 48), "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.3), "label_names": ["a", "b", "c"],
    }  # fmt: skip
    net = nl.Network(own)
    assert net.input_shape == (3, 40, 48)
    assert net.labels == ("a", "b", "c")
    assert "normalized as its pretrained_cfg says" in repr(net)
    x = torch.rand(3, 40, 48)
    np.testing.assert_allclose(net.scores(x), normalized(own, x, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)), atol=1e-5)
    wrapped = nl.Network(nn.DataParallel(own))
    np.testing.assert_allclose(wrapped.scores(x), net.scores(x), atol=1e-6)
    assert nl.Network(own, (3, 24, 32), False, ["x", "y", "z"]).labels == ("x", "y", "z")


def test_a_hugging_face_config_and_processor():
    own = model()
    own.config = SimpleNamespace(image_size=[40, 48], num_channels=3, id2label={2: "bird", 0: "cat", 1: "dog"})
    net = nl.Network(own)
    assert net.input_shape == (3, 40, 48)
    assert net.labels == ("cat", "dog", "bird")
    assert "pass normalize=" in repr(net)
    processor = SimpleNamespace(image_mean=[0.5, 0.5, 0.5], image_std=[0.25, 0.25, 0.25])
    x = torch.rand(3, 40, 48)
    own_scores = nl.Network(own, normalize=processor).scores(x)
    np.testing.assert_allclose(own_scores, normalized(own, x, (0.5,) * 3, (0.25,) * 3), atol=1e-5)
    own.config.id2label = {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert nl.Network(own).labels is None


def test_torchvisions_weights():
    own = model(1000)
    own.weights = torchvision.models.EfficientNet_V2_L_Weights.DEFAULT
    found = carried_by(own)
    assert (found.input_shape, found.mean_std) == ((3, 480, 480), ([0.5] * 3, [0.5] * 3)) or found.mean_std == (
        (0.5, 0.5, 0.5), (0.5, 0.5, 0.5),
    )  # fmt: skip
    net = nl.Network(own, (3, 24, 32))
    assert net.labels[281] == "tabby"
    assert "normalized as its weights say" in repr(net)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: torchvision.models.resnet18(), Carried(mean_std=nl.IMAGENET, source="ImageNet")),
        (lambda: torchvision.models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None),
         Carried(mean_std=nl.IMAGENET, source="ImageNet")),
        (lambda: torchvision.models.optical_flow.raft_small(), Carried(normalizes_itself=True, source="torchvision's networks of its kind")),
    ],
)  # fmt: skip
def test_torchvisions_classes(make, expected):
    assert carried_by(make()) == expected


def test_clips_are_normalized_as_kinetics():
    own = torchvision.models.video.r3d_18()
    mean, std = carried_by(own).mean_std
    weights = torchvision.models.video.R3D_18_Weights.DEFAULT.transforms()
    assert (list(mean), list(std)) == (list(weights.mean), list(weights.std))


LABELS = {
    "a sequence": ["cat", "dog", "bird"],
    "a dictionary": {0: "cat", 1: "dog", 2: "bird"},
    "in another order": {2: "bird", 0: "cat", 1: "dog"},
    "of text": {"0": "cat", "1": "dog", "2": "bird"},
    "the other way round": {"cat": 0, "bird": 2, "dog": 1},
    "an iterator": iter(["cat", "dog", "bird"]),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels(name):
    net = nl.Network(model(), (3, 24, 32), False, LABELS[name])
    assert net.labels == ("cat", "dog", "bird")
    assert net.class_index("dog") == 1


def test_labels_that_are_none():
    for wrong, why in (
        ({0: "cat", 1: "dog"}, "answers with 3 classes, got 2 labels"),
        ({0: "cat", 1: "dog", 3: "bird"}, "none for index 2; give each index a name"),
        ({"cat": "dog", "a": "b", "c": "d"}, "labels as a dictionary are index -> name"),
        ("cats", 'or "imagenet"; got .cats.'),
        (7, "labels are a sequence of names"),
        ("imagenet", "answers with 3 classes, got 1000 labels"),
    ):
        with pytest.raises(nl.LensError, match=why):
            nl.Network(model(), (3, 24, 32), False, wrong)
    assert nl.Network(model(1000), (3, 24, 32), False, "imagenet").labels[0] == "tench"


def test_names_that_a_model_carries_of_another_head_are_left():
    own = model(5)
    own.config = SimpleNamespace(id2label={0: "cat", 1: "dog"})
    assert nl.Network(own, (3, 24, 32)).labels is None
