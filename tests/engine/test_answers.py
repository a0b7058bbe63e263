"""Which tensor is the answer, and what its numbers mean."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import zoo
from torch import nn

import nn_lens as nl
from nn_lens.engine.network.answers import class_scores

PICTURE = torch.rand(3, 24, 32, generator=torch.Generator().manual_seed(5))


@dataclass
class Out:
    features: torch.Tensor
    logits: torch.Tensor


@dataclass
class Bare:
    scores: torch.Tensor


Pair = namedtuple("Pair", "features logits")


class Answering(nn.Module):
    """Gives its features and logits in one form or another."""

    def __init__(self, form) -> None:
        super().__init__()
        self.body, self.head, self.form = zoo.picture(), nn.Linear(8, 4), form

    def forward(self, x):
        features = self.body(x)
        return self.form(features, self.head(features))


FORMS = {
    "(features, logits)": lambda f, s: (f, s),
    "(logits, features)": lambda f, s: (s, f),
    "[features, [logits]]": lambda f, s: [f, [s]],
    "features first": lambda f, s: {"features": f, "logits": s},
    "ordered, named": lambda f, s: OrderedDict(logits=s, features=f),
    "dataclass": Out,
    "dataclass without the name": lambda f, s: Bare(s),
    "named tuple": Pair,
    "a number beside": lambda f, s: (s.mean(), s),
    "whole numbers beside": lambda f, s: (s.argmax(1), s),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_logits_are_the_answer(name):
    model = Answering(FORMS[name]).eval()
    net = nl.Network(model, (3, 24, 32), False)
    np.testing.assert_allclose(net.scores(PICTURE), model.head(model.body(PICTURE[None]))[0].detach(), atol=1e-6)
    assert net.output_kind == "logits"
    assert len(net.predict(PICTURE)) == 4
    assert ("of its 2 answers" in repr(net)) == (name not in ("dataclass without the name", "whole numbers beside"))


def test_another_answer_is_asked_for():
    model = Answering(FORMS["features first"]).eval()
    features = model.body(PICTURE[None])[0].detach()
    for output in ("features", lambda a: a["features"], ("features",)):
        net = nl.Network(model, (3, 24, 32), False, output=output, output_kind="values")
        np.testing.assert_allclose(net.scores(PICTURE), features, atol=1e-6)
        np.testing.assert_allclose(sorted(v for _, v in net.predict(PICTURE, 8)), sorted(features), atol=1e-6)
    pair = Answering(FORMS["(features, logits)"]).eval()
    assert nl.Network(pair, (3, 24, 32), False, output=0).scores(PICTURE).shape == (8,)
    assert nl.Network(pair, (3, 24, 32), False, output=-1).scores(PICTURE).shape == (4,)
    nested = Answering(FORMS["[features, [logits]]"]).eval()
    assert nl.Network(nested, (3, 24, 32), False, output=(1, 0)).scores(PICTURE).shape == (4,)
    with pytest.raises(
        nl.LensError, match=r"has no 'logit'. It has \['features'\], \['logits'\]; nearest: \['logits'\]"
    ):
        nl.Network(model, (3, 24, 32), False, output="logit")
    with pytest.raises(nl.LensError, match=r"output=1 is a list with .*; it may go on: output=\(1, \.\.\.\)"):
        nl.Network(nested, (3, 24, 32), False, output=1)
    with pytest.raises(nl.LensError, match="pick a tensor out of the model's answer, and gave a int"):
        nl.Network(pair, (3, 24, 32), False, output=len)
    with pytest.raises(
        nl.LensError, match=r"output= failed on the model's answer, a tuple with \[0\] \(2, 8\).*IndexError"
    ):
        nl.Network(pair, (3, 24, 32), False, output=lambda a: a[7])


def last(model, x=PICTURE):
    return model.eval()(x[None])[0].detach()


def test_what_probabilities_are_made_of():
    torch.manual_seed(0)
    four = zoo.picture(nn.Linear(8, 4))
    with torch.no_grad():
        four[-1].weight *= 20
    logits = last(four)
    cases = {
        "logits": (four, logits.softmax(0)),
        "probabilities": (nn.Sequential(*four, nn.Softmax(1)), logits.softmax(0)),
    }
    for kind, (model, expected) in cases.items():
        net = nl.Network(model, (3, 24, 32), False)
        assert net.output_kind == kind
        np.testing.assert_allclose(net.predict(PICTURE, 1)[0][1], expected.max(), rtol=1e-5)
    sigmoid = nl.Network(nn.Sequential(*four, nn.Sigmoid()), (3, 24, 32), False)
    assert sigmoid.output_kind == "probabilities"
    assert "by sigmoid" in repr(sigmoid)
    np.testing.assert_allclose(sigmoid.predict(PICTURE, 1)[0][1], logits.sigmoid().max(), rtol=1e-5)
    several = nl.Network(four, (3, 24, 32), False, output_kind="multilabel")
    np.testing.assert_allclose(several.predict(PICTURE, 1)[0][1], logits.sigmoid().max(), rtol=1e-5)
    logs = nl.Network(nn.Sequential(*four, nn.LogSoftmax(1)), (3, 24, 32), False)
    np.testing.assert_allclose(logs.predict(PICTURE, 1)[0][1], logits.softmax(0).max(), rtol=1e-5)


def test_one_number():
    one = zoo.picture(nn.Linear(8, 1))
    net = nl.Network(one, (3, 24, 32), False, ["tumour"])
    assert net.output_kind == "logit"
    assert 'output_kind="values"' in repr(net)
    assert net.predict(PICTURE) == [("tumour", pytest.approx(float(last(one).sigmoid()), rel=1e-5))]
    age = nl.Network(one, (3, 24, 32), False, output_kind="values")
    assert age.predict(PICTURE)[0][1] == pytest.approx(float(last(one)), rel=1e-5)
    made = nl.Network(nn.Sequential(*one, nn.Sigmoid(), nn.Flatten(0)), (3, 24, 32), False)
    assert made.predict(PICTURE)[0][1] == pytest.approx(float(last(one).sigmoid()), rel=1e-5)


def test_a_kind_of_answer_that_does_not_fit():
    with pytest.raises(nl.LensError, match="no output_kind 'logist'; it is one of logit, logits"):
        nl.Network(zoo.picture(nn.Linear(8, 4)), (3, 24, 32), output_kind="logist")
    with pytest.raises(nl.LensError, match=r"answers with \(4,\), which is not 'dense'"):
        nl.Network(zoo.picture(nn.Linear(8, 4)), (3, 24, 32), output_kind="dense")


def test_an_answer_at_each_place():
    torch.manual_seed(1)
    model = zoo.UNet().eval()
    net = nl.Network(model, (1, 32, 40), False, ["back", "cell", "edge"])
    x = torch.rand(1, 32, 40)
    dense = model(x[None])[0].detach()
    assert net.output_kind == "dense"
    np.testing.assert_allclose(net.scores(x), dense, atol=1e-6)
    share = {c: float((dense.argmax(0) == c).float().mean()) for c in range(3)}
    assert dict(net.predict(x)) == pytest.approx({name: share[c] for c, name in enumerate(net.labels)})
    where = dense.argmax(0)
    np.testing.assert_allclose(class_scores(dense[None])[0], [dense[c][where == c].sum() for c in range(3)], rtol=1e-4)
    np.testing.assert_allclose(class_scores(dense[None], (3, 7))[0], dense[:, 3, 7])
    mask = torch.zeros(32, 40, dtype=torch.bool)
    mask[2:5, 30:] = True
    np.testing.assert_allclose(class_scores(dense[None], mask)[0], dense[:, 2:5, 30:].sum((1, 2)), rtol=1e-4)
    for wrong in ((32, 0), (1, 2, 3), mask.T, torch.zeros(32, 40, dtype=torch.bool), "middle"):
        with pytest.raises(nl.LensError, match=r"at is a place of 32x40, such as \(16, 20\), or a boolean mask"):
            class_scores(dense[None], wrong)
    with pytest.raises(nl.LensError, match="one score per class, at no place"):
        class_scores(torch.rand(1, 3, 1, 1), (0, 0))


def test_answers_that_are_no_classes_leave_the_layers():
    class Boxes(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 6, 3)

        def forward(self, x):
            self.conv(x)
            return [{"boxes": torch.rand(7 + i, 4), "scores": torch.rand(7 + i)} for i in range(len(x))]

    model = Boxes()
    net = nl.Network(model, (3, 24, 32), False)
    assert net.output_kind is None
    np.testing.assert_allclose(
        nl.activations(net, PICTURE, "conv").maps, model.conv(PICTURE[None])[0].detach(), atol=1e-6
    )
    with pytest.raises(nl.LensError, match=r"answers with no tensor, not with one score per class.*output=callable"):
        net.scores(PICTURE)
    best = lambda found: torch.stack([one["scores"][:3] for one in found])  # noqa: E731
    assert nl.Network(model, (3, 24, 32), False, output=best).scores(PICTURE).shape == (3,)


def test_detection_models_are_not_normalized_twice():
    import torchvision

    torch.manual_seed(0)
    model = torchvision.models.detection.ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=3
    )
    net = nl.Network(model.eval(), (3, 96, 96))
    assert "normalizes by itself" in repr(net)
    name = next(name for name, m in model.named_modules() if isinstance(m, nn.Conv2d))
    kept, x = [], torch.rand(3, 96, 96)
    handle = model.get_submodule(name).register_forward_hook(lambda m, i, o: kept.append(o[0].detach()))
    with torch.no_grad():
        model([x])
    handle.remove()
    np.testing.assert_allclose(nl.activations(net, x, name).maps, kept[0], atol=1e-5)
