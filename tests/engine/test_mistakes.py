"""Mistakes: one pass over a dataset against a plain loop, for every kind of answer."""

from __future__ import annotations

import collections

import numpy as np
import pytest
import torch
from models import material_network, same, small, state
from reference.kinds import Segmenting, model_of
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import nn_lens as nl


def plain_loop(model, x: torch.Tensor, classes: torch.Tensor, k: int):
    """What is wrong, who is taken for whom, how often each class is right, and what is least sure, one by one."""
    wrong, sure, pairs, right = [], [], collections.Counter(), collections.defaultdict(list)
    with torch.no_grad():
        for i, (one, class_) in enumerate(zip(x, classes.tolist(), strict=True)):
            shares = model(one[None])[0].softmax(0)
            said = int(shares.argmax())
            sure.append((i, said, float(shares.max())))
            right[class_].append(said == class_)
            if said != class_:
                pairs[class_, said] += 1
                wrong.append((i, class_, said, float(shares[said])))
    wrong.sort(key=lambda m: (-m[3], m[0]))
    sure.sort(key=lambda m: (m[2], m[0]))
    return wrong[:k], pairs, {c: sum(r) / len(r) for c, r in right.items()}, sure[:k]


def matches(found, expected, count: int) -> None:
    wrong, pairs, accuracy, sure = expected
    # Probabilities of a picture alone and in a batch differ in their last digits, and so may the order of equals.
    np.testing.assert_allclose([m.probability for m in found.wrong], [m[3] for m in wrong], atol=1e-4)
    assert len({m[:3] for m in found.wrong} & {m[:3] for m in wrong}) >= len(wrong) - 1
    assert [m.picture for m in found.wrong[:5]] == [m[0] for m in wrong[:5]]
    np.testing.assert_allclose([u.probability for u in found.unsure], [u[2] for u in sure], atol=1e-4)
    assert {(c.true, c.said): c.pictures for c in found.confusions} == pairs
    counts = [c.pictures for c in found.confusions]
    assert counts == sorted(counts, reverse=True)
    assert found.accuracy == pytest.approx(accuracy)
    assert (found.count, found.labelled, found.wrong_count) == (count, count, sum(pairs.values()))
    assert found.overall == pytest.approx(1 - sum(pairs.values()) / count)


def test_digits_are_as_a_plain_loop_says():
    from nn_lens.networks.digits import all_digits

    net = nl.demo("digits")
    x, classes = all_digits()
    before = state(net.model)
    found = nl.mistakes(net, TensorDataset(x, classes), k=20, progress=False)
    assert same(before, state(net.model))
    matches(found, plain_loop(net.model.eval(), x, classes, 20), len(x))
    own = nl.mistakes(net, k=20, progress=False)  # its own pictures
    assert own.wrong == found.wrong
    torch.testing.assert_close(found.picture(found.wrong[0]), x[found.wrong[0].picture])


def test_fashion_is_as_a_plain_loop_says(material):
    net = material_network(material, "fashion_crp", (1, 28, 28))
    data = np.load(material / "data" / "fashion_mnist_val5000.npz")
    names = {v.ndim: data[k] for k, v in data.items()}
    x = torch.from_numpy(names[3].astype(np.float32) / 255)[:, None]
    classes = torch.from_numpy(names[1].astype(np.int64))
    found = nl.mistakes(net, TensorDataset(x, classes), k=30, progress=False)
    matches(found, plain_loop(net.model.eval(), x, classes, 30), 5000)
    assert found.overall == pytest.approx(0.896, abs=5e-4)  # what its source says


def test_it_streams_and_stops():
    net, x = small(), torch.rand(100, 3, 20, 28)
    classes = torch.arange(100) % 4
    steps = nl.mistakes_steps(net, TensorDataset(x, classes), k=5)
    first = next(steps)
    kept = (first.count, list(first.wrong), dict(first.accuracy))
    assert 0 < first.count < 100
    later = next(steps)
    assert later.count > first.count
    assert (first.count, list(first.wrong), dict(first.accuracy)) == kept
    steps.close()
    *_, last = nl.mistakes_steps(net, TensorDataset(x, classes), k=5)
    assert last.wrong == nl.mistakes(net, TensorDataset(x, classes), k=5, progress=False).wrong
    assert last.total == last.count == 100


class Once(IterableDataset):
    def __init__(self, x, classes):
        self.x, self.classes = x, classes

    def __iter__(self):
        return zip(self.x, self.classes.tolist(), strict=True)


def test_sources_that_can_be_read_once_keep_what_they_show():
    net, x = small(), torch.rand(70, 3, 20, 28)
    classes = torch.arange(70) % 4
    expected = nl.mistakes(net, TensorDataset(x, classes), k=6, progress=False)
    for source in (Once(x, classes), DataLoader(Once(x, classes), batch_size=9)):
        found = nl.mistakes(net, source, k=6, progress=False)
        assert found.wrong == expected.wrong
        for mistake in (*found.wrong, *found.unsure):
            torch.testing.assert_close(found.picture(mistake), x[mistake.picture])
        found.figure()
    assert len(found._kept) <= 12


def test_without_classes_the_least_sure_are_ranked():
    net, x = small(), torch.rand(40, 3, 20, 28)
    found = nl.mistakes(net, x, k=7, progress=False)
    with torch.no_grad():
        shares, said = net.model.eval()(x.clone()).softmax(1).max(1)
    order = np.lexsort((np.arange(40), shares.numpy()))[:7]
    assert [u.picture for u in found.unsure] == order.tolist()
    assert [u.said for u in found.unsure] == said[order].tolist()
    assert (found.wrong, found.confusions, found.accuracy, found.overall) == ([], [], None, None)
    assert "none with a class, the least sure is" in found.alt_text
    found.figure()


def test_yes_or_no_and_several_labels():
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 1))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[4.0, 0, 0, 0, 0, 0]]))
        model[1].bias.fill_(-1.9)
    net = nl.Network(model, (1, 2, 3), False, ["bright"])
    x = torch.tensor([0.0, 0.9, 0.25, 1.0])[:, None, None, None].expand(4, 1, 2, 3).clone()
    found = nl.mistakes(net, TensorDataset(x, torch.tensor([1, 1, 0, 0])), progress=False)
    sigmoid = [1 / (1 + np.exp(-v)) for v in (-1.9, 1.7, -0.9, 2.1)]
    assert [m[:3] for m in found.wrong] == [(3, 0, 1), (0, 1, 0)]
    np.testing.assert_allclose([m.probability for m in found.wrong], [sigmoid[3], 1 - sigmoid[0]], rtol=1e-5)
    assert found.accuracy == {0: 0.5, 1: 0.5}
    assert [found.name(0), found.name(1)] == ["not bright", "bright"]
    assert [u.picture for u in found.unsure] == [2, 1, 0, 3]
    with pytest.raises(nl.LensError, match="classes 0 to 1, not 2"):
        nl.mistakes(net, TensorDataset(x, torch.tensor([0, 1, 2, 1])), progress=False)
    several = nl.Network(small().model, (3, 20, 28), False, output_kind="multilabel")
    pictures = torch.rand(9, 3, 20, 28)
    found = nl.mistakes(several, TensorDataset(pictures, torch.arange(9) % 4), progress=False)
    with torch.no_grad():
        scores = several.model.eval()(pictures.clone())
    said = {u.picture: (u.said, u.probability) for u in found.unsure}
    assert [said[i][0] for i in range(9)] == scores.argmax(1).tolist()
    np.testing.assert_allclose([said[i][1] for i in range(9)], scores.amax(1).sigmoid(), rtol=1e-4)


def test_dense_answers_at_a_place_or_everywhere():
    torch.manual_seed(5)
    model, x = Segmenting().eval(), torch.rand(6, 1, 10, 14)
    net = nl.Network(model, (1, 10, 14), False)
    with torch.no_grad():
        answer = model(x)
    classes = torch.tensor([0, 1, 2, 0, 1, 2])
    there = nl.mistakes(net, TensorDataset(x, classes), at=(2, 9), progress=False)
    said = answer[:, :, 2, 9].argmax(1)
    assert {m[:3] for m in there.wrong} == {
        (i, int(c), int(s)) for i, (c, s) in enumerate(zip(classes, said, strict=True)) if c != s
    }
    everywhere = nl.mistakes(net, TensorDataset(x, classes), progress=False)
    assert everywhere.accuracy is None
    winners = answer.argmax(1).flatten(1)
    for one in everywhere.unsure:
        counts = torch.bincount(winners[one.picture], minlength=3)
        assert (one.said, one.probability) == (int(counts.argmax()), pytest.approx(float(counts.max()) / 140))


@pytest.mark.parametrize("kind", ["signal", "volume", "LSTM", "vector"])
def test_other_kinds_of_input(kind):
    model, shape = model_of(kind)
    options = {"kind": "sequence"} if kind == "LSTM" else {}
    net, x = nl.Network(model, shape, False, **options), torch.randn(12, *shape)
    classes = torch.arange(12) % 3
    found = nl.mistakes(net, TensorDataset(x, classes), k=4, progress=False)
    matches(found, plain_loop(model, x, classes, 4), 12)
    found._repr_png_()


def test_what_was_wrong_is_named():
    net = small()
    for k in (0, 1.5, True):
        with pytest.raises(nl.LensError, match="k is a whole number of pictures, 1 or more"):
            nl.mistakes(net, torch.rand(3, 3, 20, 28), k)
    with pytest.raises(nl.LensError, match="one score per class, at no place; leave at= out"):
        nl.mistakes(net, torch.rand(3, 3, 20, 28), at=(0, 0))
    values = nl.Network(net.model, (3, 20, 28), False, output_kind="values")
    with pytest.raises(nl.LensError, match="answers with values, which are neither right nor wrong"):
        nl.mistakes(values, torch.rand(3, 3, 20, 28))
    with pytest.raises(nl.LensError, match="classes 0 to 3, not 7"):
        nl.mistakes(net, [(torch.rand(3, 20, 28), 7)], progress=False)


def test_result_says_what_it_shows():
    net = small()
    x = torch.rand(8, 3, 20, 28)
    with torch.no_grad():
        said = net.model.eval()(x.clone()).argmax(1)
    labels = (said + 1) % 4
    named = nl.Network(net.model, (3, 20, 28), False, ["a", "b", "c", "d"])
    found = nl.mistakes(named, TensorDataset(x, labels), progress=False)
    assert found.alt_text.startswith("8 of 8 pictures called wrong, accuracy 0.0%; most often ")
    assert repr(found) == f"<{found.alt_text}>"
    first = found.wrong[0]
    title = found.figure().axes[0].get_title()
    assert title == f"{named.label(first.true)}\nsaid {named.label(first.said)} {first.probability:.0%}"
    right = nl.mistakes(named, TensorDataset(x, said), progress=False)
    assert right.wrong == []
    assert right.overall == 1
    right.figure()
