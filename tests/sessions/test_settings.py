"""JupyterLab's settings reach the panels that are opened afterwards; what is broken is said and left out."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from models import small

import nn_lens as nl
from nn_lens import cli
from nn_lens.engine.pictures import images
from nn_lens.sessions import cpu, prints, requests, settings
from nn_lens.sessions.settings import read_settings

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Where JupyterLab writes the user's settings, in an environment that says nothing else."""
    monkeypatch.setenv("JUPYTERLAB_SETTINGS_DIR", str(tmp_path / "settings"))
    monkeypatch.setattr(settings, "_said", set())
    monkeypatch.setattr(settings.sys, "prefix", str(tmp_path / "prefix"))
    for variable in settings._VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "settings" / "nn-lens").mkdir(parents=True)
    return tmp_path / "settings" / "nn-lens" / "settings.jupyterlab-settings"


def test_without_any_the_defaults_hold(file):
    found = read_settings()
    assert (found.colour_map, found.quality, found.cache_folder, found.cache_size) == ("cividis", "full", "", 512)
    assert (found.threads, found.snapshot, found.side_panel) == (0, True, True)
    assert not found.problems
    assert "threads: 0 (default)" in list(found.said())


def test_the_users_file_has_comments_as_jupyterlab_writes_them(file):
    file.write_text(
        '{\n    // Colours\n    // Those of the maps, with "quotes" and a , comma\n    "colourMap": "magma", /* and\n so on */\n'
        '    "cacheFolder": "/a//b, }", "threads": 3.0,\n    // the last one\n    "snapshot": false,\n}\n'
    )
    found = read_settings()
    assert (found.colour_map, found.cache_folder, found.threads, found.snapshot) == ("magma", "/a//b, }", 3, False)
    assert found.sources["threads"] == str(file)
    assert not found.problems


def test_the_environment_goes_before_the_file_and_the_file_before_overrides(file, tmp_path, monkeypatch):
    overrides = tmp_path / "prefix/share/jupyter/lab/settings/overrides.json"
    overrides.parent.mkdir(parents=True)
    overrides.write_text(
        json.dumps(
            {"nn-lens:settings": {"threads": 1, "quality": "draft", "cacheSize": 7}, "other:plugin": {"threads": 9}}
        )
    )
    file.write_text('{"threads": 2, "quality": "full"}')
    monkeypatch.setenv("NN_LENS_THREADS", "4")
    monkeypatch.setenv("NN_LENS_SNAPSHOT", "no")
    found = read_settings()
    assert (found.threads, found.quality, found.cache_size, found.snapshot) == (4, "full", 7, False)
    assert found.sources["threads"] == "$NN_LENS_THREADS"
    assert found.sources["cache_size"] == str(overrides)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"threads": ', "cannot be read"),
        ("[1, 2]", "no object"),
        ("\udcff", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ('{"threads": "many"}', "threads is a whole number from 0, and is 'many'"),
        ('{"threads": Infinity}', "threads is a whole number"),
        ('{"threads": true}', "threads is a whole number"),
        ('{"colourMap": "jet"}', "colourMap is one of cividis, viridis"),
        ('{"snapshot": "on"}', "snapshot is true or false"),
        ('{"ColourMap": "magma"}', "it is called colourMap"),
    ],
)  # fmt: skip
def test_what_is_broken_is_said_once_and_the_panel_opens(file, text, says):
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.warns(UserWarning, match=says):
        panel = nl.FiltersView(small())
    panel.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_settings().problems, "it is not said again, and the doctor knows it"
    assert (read_settings().threads, read_settings().colour_map) == (0, "cividis")


def test_panels_opened_afterwards_follow(file):
    before = nl.FiltersView(small())
    file.write_text('{"colourMap": "magma", "snapshot": false}')
    after, explicit = nl.FiltersView(small()), nl.FiltersView(small(), snapshot=True)
    assert before._colours["sequential"] == images.colour_table("sequential").tobytes()
    assert after._colours["sequential"] == images.colour_table("magma").tobytes() != before._colours["sequential"]
    assert after._colours["diverging"] == before._colours["diverging"]
    assert (before.snapshot, after.snapshot, explicit.snapshot) == (True, False, True)
    for panel in (before, after, explicit):
        panel.close()


def test_what_is_printed_has_the_colours_of_the_panel(file):
    """The darkest colour of a map whose answers begin at 0."""
    net = nl.Network(torch.nn.Sequential(torch.nn.Conv2d(3, 1, 1, bias=False), torch.nn.ReLU()), (3, 16, 24), False)
    with torch.no_grad():
        net.model[0].weight.fill_(1)
    picture = torch.zeros(3, 16, 24)
    picture[:, :, 12:] = 1

    def colours():
        session = nl.Session(net, cache=False)
        image = session.run(lambda s: prints.printed(s, ["activations"], nl.Unit("1", 0), picture, 60))[-1]
        session.close()
        return {tuple(c) for c in np.asarray(image).reshape(-1, 3).tolist()}

    magma, cividis = (tuple(images.colour_table(name)[0].tolist()) for name in ("magma", "sequential"))
    assert cividis in colours()
    file.write_text('{"colourMap": "magma"}')
    assert magma in colours()
    assert cividis not in colours()
    assert tuple(images.colour_table("sequential")[0].tolist()) == cividis, "of nobody else"


def test_drafts_take_fewer_steps_and_are_kept_apart(file, tmp_path):
    file.write_text('{"quality": "draft"}')
    session = nl.Session(small(), cache=tmp_path / "cache")
    page = session.run(lambda s: requests.page(s, [nl.Unit("3", 0)]))[-1]
    assert (page.step, page.steps, page.finished) == (requests.DRAFT_STEPS, requests.DRAFT_STEPS, True)
    session.close()
    file.write_text("{}")
    session = nl.Session(small(), cache=tmp_path / "cache")
    assert len(session.run(lambda s: requests.page(s, [nl.Unit("3", 0)]))) > 1, "it is made, in full"
    session.close()


def test_folder_size_and_threads(file, tmp_path, monkeypatch):
    threads = torch.get_num_threads()
    file.write_text(json.dumps({"cacheFolder": str(tmp_path / "kept"), "cacheSize": 3, "threads": 1}))
    session = nl.Session(small())
    assert (session.cache.folder, session.cache.disk_bytes) == (tmp_path / "kept", 3 << 20)
    assert session.run(lambda s: iter([torch.get_num_threads()])) == [1]
    session.close()
    assert nl.Session(small(), cache=tmp_path / "mine").cache.folder == tmp_path / "mine", "what is passed goes first"
    file.write_text('{"cacheSize": 0}')
    assert nl.Session(small()).cache.folder is None
    assert cpu.available() >= 1
    torch.set_num_threads(threads)


def test_the_doctor_shows_what_is_in_force_and_from_where(file, capsys, monkeypatch):
    file.write_text('{"colourMap": "viridis", "threads": "two"}')
    monkeypatch.setenv("NN_LENS_QUALITY", "draft")
    monkeypatch.setattr(cli, "_parts", lambda: iter([]))
    assert cli.main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert f"setting colour map: 'viridis' ({file})" in said
    assert "setting quality: 'draft' ($NN_LENS_QUALITY)" in said
    assert "setting snapshot: True (default)" in said
    assert f"PROBLEM {file}: threads is a whole number" in said
    assert "server extension nn_lens.server" in said


def test_the_settings_editor_has_the_same_ones():
    """The names, defaults and choices of the extension's schema are those that Python reads."""
    folder = ROOT / "nn_lens" / "frontend" / "schema"
    offered: dict[str, dict] = {}
    for schema in folder.glob("*.json"):
        offered |= json.loads(schema.read_text(encoding="utf-8")).get("properties", {})
    if not offered:
        pytest.skip("the extension has no settings yet")
    for name, key in settings._KEYS.items():
        assert offered[key]["default"] == getattr(settings.Settings(), name), key
    assert tuple(offered["colourMap"]["enum"]) == settings.COLOUR_MAPS
    assert tuple(offered["quality"]["enum"]) == settings.QUALITIES
