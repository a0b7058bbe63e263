"""The copy that a session works on: weights that move while they are taken over are taken over again."""

from __future__ import annotations

import threading

import pytest
import torch
from models import small

import nn_lens as nl
from nn_lens.sessions.copies import Copy


def move(model):
    with torch.no_grad():
        model[0].weight += 1


def test_weights_that_move_while_they_are_copied_are_copied_again():
    net = small()
    copy = Copy(net)
    versions = iter([2, 2])  # the live version: once more after taking over, when it has moved from 1 to 2

    def live():
        return next(versions)

    copy.with_weights(1, None, lambda: 1)
    move(net.model)
    torn = copy.with_weights(2, None, lambda: 3)  # a step of the training came between
    move(net.model)
    assert copy.version == 2
    assert not torch.equal(torn.model[0].weight, net.model[0].weight)
    whole = copy.with_weights(2, None, live)
    assert torch.equal(whole.model[0].weight, net.model[0].weight), "what may be half of each is not kept"
    before = whole.model[0].weight.detach().clone()
    move(net.model)
    assert torch.equal(copy.with_weights(2, None, live).model[0].weight, before), "what was whole is"


def test_a_past_cannot_be_torn():
    net = small()
    copy, then = Copy(net), {k: v.clone() for k, v in net.model.state_dict().items()}
    copy.with_weights(1, lambda: then, lambda: 7)
    calls = []
    copy.with_weights(1, lambda: calls.append(1) or then, lambda: 8)
    assert not calls, "it is there already"


def test_a_model_that_cannot_be_copied_is_used_itself_and_has_no_past():
    net = small()
    net.model.lock = threading.Lock()
    copy = Copy(net)
    assert copy.with_weights(1, None, lambda: 1) is net
    assert "takes turns with your code" in copy.note
    with pytest.raises(nl.LensError, match="no past that can be shown"):
        copy.with_weights(2, dict, lambda: 2)
    del net.model.lock
    assert copy.with_weights(3, None, lambda: 3) is not net
    assert copy.note == "", "it can be now"


def test_nothing_is_held_once_it_is_let_go_of():
    net = small()
    copy = Copy(net)
    first = copy.with_weights(1, None, lambda: 1)
    copy.forget()
    assert copy.version == -1
    assert copy.with_weights(1, None, lambda: 1) is not first
