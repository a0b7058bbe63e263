"""`nn-lens sweep`."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

import nn_lens as nl
from nn_lens import cli
from nn_lens.atlas import command

MINE = """
import torch
import nn_lens as nl

def network():
    torch.manual_seed(0)
    return nl.Network(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5), torch.nn.ReLU()), (3, 16, 20), False)

def model():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5), torch.nn.ReLU())

made = network()
"""


@pytest.fixture(autouse=True)
def _there(tmp_path, monkeypatch):
    (tmp_path / "mine_to_sweep.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def test_it_makes_an_atlas_and_a_site(tmp_path, capsys):
    asked = [
        "sweep",
        "mine_to_sweep:network",
        "--out",
        "atlas",
        "--units",
        "1:2",
        "--what",
        "filters",
        "maximizing",
        "--workers",
        "1",
    ]
    assert cli.main([*asked, "--site", "pages"]) == 0
    assert "<Atlas of Sequential: 1 layers, maximizing of 1> in atlas" in capsys.readouterr().out
    assert nl.Atlas("atlas").images("1:2").images.shape[0] == 1
    assert (tmp_path / "pages" / "1.html").is_file()
    assert cli.main(asked) == 0  # nothing is left to do


def test_sources_are_bundled_imported_or_loaded(tmp_path):
    assert command.network_of("mine_to_sweep:made").input_shape == (3, 16, 20)
    assert command.network_of("digits").input_shape == (1, 8, 8)
    save_file(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5)).state_dict(), tmp_path / "weights.safetensors")
    assert [x.kind for x in command.network_of("weights.safetensors", "mine_to_sweep:model").layers] == [
        "Conv2d",
        "ReLU",
    ]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["mine_to_sweep:nothing"], "mine_to_sweep:nothing cannot be imported"),
        (["nowhere:network"], "nowhere:network cannot be imported"),
        (["lost.safetensors"], "lost.safetensors"),
        (["mine_to_sweep:network", "--layers", "conv9"], "no layer 'conv9'"),
    ],
)
def test_what_cannot_be_begun_says_why(asked, said, capsys):
    assert cli.main(["sweep", *asked, "--out", "atlas"]) == 1
    assert said in capsys.readouterr().err


def test_what_is_missing_is_listed(capsys, monkeypatch):
    monkeypatch.setattr(command, "sweep", lambda *_, **__: torn)
    torn = type("Torn", (), {"missing": ("<trust of 1: the tape is torn>",), "__repr__": lambda _: "<Atlas>"})()
    assert cli.main(["sweep", "mine_to_sweep:network", "--out", "atlas"]) == 1
    assert "the tape is torn" in capsys.readouterr().err


def test_slips_are_named(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["sweep", "digits"])
    assert "--out" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        cli.main(["sweep", "digits", "--out", "atlas", "--workers", "0"])
    assert "at least 1 worker" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        cli.main(["swep"])
    assert "did you mean `nn-lens sweep`?" in capsys.readouterr().err
