"""A sweep, and the atlas that it makes: the numbers are those of the live calls, and of a pass that is made by hand."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from atlases import files
from models import small
from PIL import Image
from torch import nn

import nn_lens as nl
from nn_lens.atlas import sweeping, tasks
from nn_lens.errors import PictureError

LAYER = "3"  # the second convolution: 8 channels
PICTURES = 100


@pytest.fixture(scope="module")
def net() -> nl.Network:
    return small()


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    """Random ones, two of them twice, so that values are tied."""
    made = torch.rand(PICTURES, 3, 20, 28, generator=torch.Generator().manual_seed(1))
    made[70], made[5] = made[3], made[64]
    return made


@pytest.fixture(scope="module", autouse=True)
def _small_ranges():
    """Tasks of one batch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "_RANGE", (32, 32))
        yield


def swept(net, folder, **asked) -> nl.Atlas:
    with ThreadPoolExecutor(1) as executor:
        return nl.sweep(net, folder, executor=executor, progress=False, **asked)


ASKED = {
    "layers": ["0", LAYER], "units": ["0:1", f"{LAYER}:2", f"{LAYER}:5"], "what": ("filters", "maximizing", "examples"),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(net, pictures, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("atlas")
    swept(net, folder, dataset=pictures, **ASKED)
    swept(net, folder, units=f"{LAYER}:2", dataset=pictures, what="trust")
    return folder


@pytest.fixture(scope="module")
def atlas(folder) -> nl.Atlas:
    return nl.Atlas(folder)


# ---- what is in it ----


def test_it_says_what_it_holds(atlas, net):
    assert repr(atlas) == "<Atlas of Sequential: 2 layers, filters of 2, maximizing of 2, examples of 2, trust of 1>"
    assert atlas.missing == ()
    assert [x.name for x in atlas.layers] == ["0", LAYER]
    assert atlas.layers == (net["0"], net[LAYER])
    assert atlas.layers[1].layout == net[LAYER].layout
    assert atlas.fingerprint() == net.fingerprint()


@pytest.mark.parametrize("place", [(0, 0), (1, 2), (1, 3)])
def test_receptive_fields_are_the_networks(atlas, net, place):
    kept, live = atlas.layers[1].receptive_field, nl.receptive_field(net, LAYER)
    assert (kept, repr(kept), kept.box(*place)) == (live, repr(live), live.box(*place))


def test_examples_are_those_of_a_slow_pass_over_all(atlas, net, pictures):
    with torch.no_grad():
        answers = net.model[:4](pictures).flatten(2)
    found = atlas.examples(LAYER)
    assert found.count == PICTURES
    assert found.exact
    for channel in range(8):
        values = answers[:, channel].amax(1).numpy()
        ranked = sorted(range(PICTURES), key=lambda i: (-values[i], i))[:9]
        least = sorted(range(PICTURES), key=lambda i: (values[i], i))[:9]
        unit = nl.Unit(LAYER, channel)
        assert [e.index for e in found.top[unit]] == ranked
        assert [e.index for e in found.bottom[unit]] == least
        np.testing.assert_allclose([e.activation for e in found.top[unit]], values[ranked], rtol=1e-5)
        places = [tuple(np.unravel_index(int(answers[i, channel].argmax()), net[LAYER].layout.grid)) for i in ranked]
        assert [e.place for e in found.top[unit]] == places
        np.testing.assert_allclose(found.quantiles(unit), np.quantile(values, (0, 0.25, 0.5, 0.75, 1)), rtol=1e-4)


def test_examples_merged_of_parts_are_those_of_one_pass(atlas, net, pictures):
    one, parts = nl.dataset_examples(net, LAYER, pictures, progress=False), atlas.examples(LAYER)
    assert parts.units == one.units
    for unit in one.units:
        for side in ("top", "bottom", "spectrum"):
            a, b = (getattr(x, side)[unit] if side != "spectrum" else x.spectrum(unit) for x in (one, parts))
            assert [(e.index, e.activation, e.place) for e in a] == [(e.index, e.activation, e.place) for e in b]
        assert (one.values(unit) == parts.values(unit)).all()
        assert all((a == b).all() for a, b in zip(one.histogram(unit), parts.histogram(unit), strict=True))
    assert parts.alt_text == one.alt_text


def test_a_larger_dataset_keeps_a_uniform_sample_whatever_the_parts_are(net, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("nn_lens.atlas.examples.SAMPLE", 40)
    kept = []
    for name, size in (("a", 32), ("b", 96)):
        monkeypatch.setattr(tasks, "_RANGE", (size, size))
        kept.append(swept(net, tmp_path / name, layers=LAYER, dataset=pictures, what="examples").examples(LAYER))
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert not kept[0].exact
    with torch.no_grad():
        values = net.model[:4](pictures).flatten(2).amax(2)[:, 0].numpy()
    own = kept[0].values(f"{LAYER}:0")
    assert len(own) == 40
    assert np.isclose(own[:, None], values[None], rtol=1e-5).any(1).all()


def test_images_are_those_of_maximize(atlas, net):
    for unit, negative in ((f"{LAYER}:5", False), (f"{LAYER}:5", True), ("0:1", False)):
        asked = nl.Unit.parse(unit)
        vector = np.zeros(net[asked.layer].channels)
        vector[asked.channel] = -1
        live = nl.maximize(net, nl.Direction(asked.layer, vector.tolist()) if negative else unit)
        kept = atlas.images(unit, negative=negative)
        assert kept.goals == live.goals
        assert kept.images.shape == live.images.shape
        assert np.abs(kept.images - live.images).mean() < 0.02  # of a JPEG
        np.testing.assert_allclose(kept.activations, live.activations, rtol=1e-4)
        np.testing.assert_allclose(kept.history, live.history, rtol=1e-3, atol=1e-4)
        assert (kept.notes, kept.steps, kept.kind, kept.canvases) == (live.notes, live.steps, live.kind, live.canvases)


def test_images_of_several_units_are_one_result(atlas):
    both = atlas.images([f"{LAYER}:2", f"{LAYER}:5"])
    assert both.goals == (f"{LAYER}:2", f"{LAYER}:5")
    assert (both.images[1] == atlas.images(f"{LAYER}:5").images[0]).all()
    with pytest.raises(nl.LensError, match="of one layer"):
        atlas.images(["0:1", f"{LAYER}:5"])


def test_trust_says_what_the_live_calls_say(atlas, net, pictures):
    examples = nl.dataset_examples(net, LAYER, pictures, progress=False)
    image = nl.maximize(net, f"{LAYER}:2")
    live = [
        nl.trust.liveliness(net, f"{LAYER}:2", examples=examples),
        nl.trust.percentile(net, f"{LAYER}:2", examples=examples, maximized=image),
        nl.trust.transfer(net, f"{LAYER}:2", maximized=image),
    ]
    kept = atlas.trust(f"{LAYER}:2")
    assert [repr(b) for b in kept[:3]] == [repr(b) for b in live]
    assert [b.name for b in kept][3:5] == ["agreement", "randomized"]
    assert isinstance(kept[0], type(live[0]))


def test_filters_are_the_weights(atlas, net):
    kept = atlas.filters("0")
    assert (kept.weights == net.model[0].weight.detach().numpy()).all()
    assert repr(kept) == repr(nl.filters(net, "0"))
    assert kept.reads_rgb


def test_what_is_not_there_says_so(atlas):
    with pytest.raises(nl.LensError, match=r"holds no layer '1'; it holds 0, 3"):
        atlas.filters("1")
    with pytest.raises(nl.LensError, match=r"has channels 0 to 7, not 8"):
        atlas.images(f"{LAYER}:8")
    with pytest.raises(nl.LensError, match=r"holds no maximizing of 3:0; nl.sweep\(net, out, what='maximizing'\) adds"):
        atlas.images(f"{LAYER}:0")
    with pytest.raises(nl.LensError, match="holds no trust of 3:5"):
        atlas.trust(f"{LAYER}:5")
    with pytest.raises(nl.LensError, match="takes the network itself"):
        nl.activations(atlas.net, np.zeros((20, 28, 3), np.uint8), LAYER)


# ---- pictures of the dataset ----


def test_without_pixels_only_numbers_boxes_and_hashes_are_kept(atlas, folder, net, pictures):
    first = atlas.examples(LAYER).top[f"{LAYER}:2"][0]
    with pytest.raises(PictureError, match="does not hold picture"):
        first.patch  # noqa: B018
    opened = nl.Atlas(folder, dataset=pictures).examples(LAYER).top[f"{LAYER}:2"][0]
    live = nl.dataset_examples(net, LAYER, pictures, progress=False).top[f"{LAYER}:2"][0]
    assert (opened.patch == live.patch).all()
    from safetensors.numpy import load_file

    shard = next(folder.glob(f"shards/examples-{LAYER}-*.safetensors"))
    numbers = load_file(shard)
    assert tuple(numbers["top_boxes"][2, 0]) == nl.receptive_field(net, LAYER).box(*first.place)
    import hashlib

    levels = (pictures[first.index] * 255).round().to(torch.uint8).numpy().tobytes()
    row = numbers["picture_indices"].tolist().index(first.index)
    assert numbers["picture_hashes"][row].tobytes() == hashlib.blake2b(levels, digest_size=8).digest()


def test_pixels_are_kept_when_asked_for(net, pictures, tmp_path):
    atlas = swept(net, tmp_path, layers=LAYER, dataset=pictures, what="examples", pixels=True)
    example = atlas.examples(LAYER).top[f"{LAYER}:2"][0]
    live = nl.dataset_examples(net, LAYER, pictures, progress=False).top[f"{LAYER}:2"][0]
    assert example.patch.shape == live.patch.shape
    assert np.abs(example.patch.astype(float) - live.patch).mean() < 12  # noise, as JPEG
    assert not list(tmp_path.glob("ranges/*"))


@pytest.mark.parametrize("pixels", [True, False])
def test_units_without_an_image_are_pictured_by_their_first_example(net, pictures, tmp_path, pixels):
    atlas = swept(net, tmp_path / "atlas", layers=LAYER, dataset=pictures, what="examples", pixels=pixels)
    atlas.to_site(tmp_path / "site")
    found = list((tmp_path / "site").rglob("sheet-0.jpg"))
    if not pixels:
        assert not found
        return
    tiles = np.asarray(Image.open(found[0]).convert("RGB"), float)
    side = tiles.shape[1] // 6
    for channel in (0, 1, 3):
        tile = tiles[:side, side * channel :][:, :side]
        patch = atlas.examples(LAYER).top[f"{LAYER}:{channel}"][0].patch
        assert np.abs(tile.mean((0, 1)) - patch.mean((0, 1))).max() < 20, channel


# ---- calling it again ----


def test_what_is_there_is_not_made_again(net, pictures, folder, monkeypatch):
    before = files(folder)
    monkeypatch.setattr(sweeping.crews.Crew, "work", lambda *_: pytest.fail("there was nothing to do"))
    swept(net, folder, dataset=pictures, **ASKED)
    assert files(folder) == before


def test_a_shard_that_was_cut_off_or_changed_is_noticed_and_made_again(net, tmp_path):
    swept(net, tmp_path, units=f"{LAYER}:2", what=("filters", "maximizing"))
    before = files(tmp_path)
    shard = next(tmp_path.glob("shards/filters-*"))
    data = shard.read_bytes()
    shard.write_bytes(data[:-4] + b"abcd")
    with pytest.raises(nl.LensError, match="was cut off or changed"):
        nl.Atlas(tmp_path).filters(LAYER)
    zipped = next(tmp_path.glob("shards/maximizing-*.zip"))
    pictures = zipped.read_bytes()
    zipped.write_bytes(pictures[:400] + bytes([pictures[400] ^ 1]) + pictures[401:])
    with pytest.raises(nl.LensError, match="was cut off or changed"):
        nl.Atlas(tmp_path).images(f"{LAYER}:2")
    shard.write_bytes(data[:-4])
    zipped.unlink()
    swept(net, tmp_path, units=f"{LAYER}:2", what=("filters", "maximizing"))
    assert files(tmp_path) == before


def test_an_index_that_is_lost_is_made_of_the_shards(net, tmp_path):
    swept(net, tmp_path, units=f"{LAYER}:2", what=("filters", "maximizing"))
    before = files(tmp_path)
    (tmp_path / "atlas.json").unlink()
    swept(net, tmp_path, units=f"{LAYER}:2", what=("filters", "maximizing"))
    assert files(tmp_path) == before


def test_images_made_for_other_pictures_are_others(tmp_path):
    """Their contrast is that of the network's own pictures."""
    net = small()
    swept(net, tmp_path, units=f"{LAYER}:2", what="maximizing")
    net.dataset = (torch.rand(20, 3, 20, 28, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    atlas = swept(net, tmp_path, units=f"{LAYER}:2", what="maximizing")
    live = nl.maximize(net, f"{LAYER}:2")
    assert np.abs(atlas.images(f"{LAYER}:2").images - live.images).mean() < 0.03
    assert len(atlas.shards("maximizing", LAYER)) == 1


def test_one_folder_is_of_one_network_and_one_dataset(net, pictures, folder):
    with pytest.raises(nl.LensError, match="of other weights, code or input"):
        swept(small(seed=1), folder, what="filters")
    with pytest.raises(nl.LensError, match="another dataset"):
        swept(net, folder, dataset=pictures[:50], what="examples")


def test_what_fails_is_listed_with_its_reason_and_tried_again(net, pictures, tmp_path):
    class Torn(torch.utils.data.Dataset):
        torn = True

        def __len__(self):
            return PICTURES

        def __getitem__(self, index):
            if self.torn and index == 71:
                raise RuntimeError("the tape is torn")
            return pictures[index]

    with ThreadPoolExecutor(1) as executor:
        dataset = Torn()
        atlas = nl.sweep(net, tmp_path, LAYER, f"{LAYER}:1", dataset, ("examples", "trust"), executor, progress=False)
        reasons = {(m.what, m.layer): m.reason for m in atlas.missing}
        assert reasons["range", ""] == "RuntimeError: the tape is torn"
        assert reasons["examples", LAYER] == "1 of 4 parts of the dataset are missing"
        assert reasons["trust", LAYER] == f"the examples of {LAYER} are not complete"
        assert "<range over pictures 64 to 95: RuntimeError: the tape is torn>" in map(repr, atlas.missing)
        with pytest.raises(nl.LensError, match="no examples of 3: "):
            atlas.examples(LAYER)
        assert len(list(tmp_path.glob("ranges/*"))) == 3
        Torn.torn = False
        atlas = nl.sweep(net, tmp_path, LAYER, f"{LAYER}:1", dataset, ("examples", "trust"), executor, progress=False)
    assert atlas.missing == ()
    assert atlas.examples(LAYER).count == PICTURES


def test_pictures_that_cannot_be_read_are_skipped_as_in_a_pass(net, tmp_path):
    from PIL import Image

    for i in range(40):
        levels = np.random.default_rng(i).integers(0, 256, (20, 28, 3), dtype=np.uint8)
        Image.fromarray(levels).save(tmp_path / f"{i:02d}.png")
    (tmp_path / "20.png").write_bytes(b"no picture")
    atlas = swept(net, tmp_path / "atlas", layers=LAYER, dataset=tmp_path, what="examples")
    live = nl.dataset_examples(net, LAYER, tmp_path, progress=False)
    assert atlas.examples(LAYER).skipped == live.skipped
    assert atlas.examples(LAYER).count == 39


# ---- what is asked for ----


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"what": "filtres"}, "did you mean 'filters'"),
        ({"layers": "conv9"}, "no layer 'conv9'"),
        ({"units": f"{LAYER}:1@0,0", "what": "maximizing"}, "single neurons have nl.maximize"),
        ({"dataset": (x for x in [torch.rand(3, 20, 28)]), "what": "examples"}, "can only be gone through"),
    ],
)
def test_a_wrong_request_says_what_is_wrong(net, tmp_path, asked, said):
    if "dataset" in asked:

        class Stream(torch.utils.data.IterableDataset):
            def __iter__(self):
                return iter([torch.rand(3, 20, 28)])

        asked = {**asked, "dataset": Stream()}
    with pytest.raises(nl.LensError, match=said):
        swept(net, tmp_path / "atlas", **asked)


def test_no_atlas_says_so(tmp_path):
    with pytest.raises(nl.LensError, match="There is no atlas at"):
        nl.Atlas(tmp_path)
    (tmp_path / "atlas.json").write_text('{"format": 1}')
    with pytest.raises(nl.LensError, match="is no atlas of nn-lens"):
        nl.Atlas(tmp_path)


def test_a_later_format_asks_for_a_newer_version(folder, tmp_path):
    later = json.loads((folder / "atlas.json").read_text()) | {"format": 99}
    (tmp_path / "atlas.json").write_text(json.dumps(later))
    with pytest.raises(nl.LensError, match="has format 99, and this nn-lens reads up to 1; upgrade"):
        nl.Atlas(tmp_path)


# ---- elsewhere ----


class Ranged(http.server.SimpleHTTPRequestHandler):
    """A server that knows ranges, unlike that of the standard library."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        asked = self.headers.get("Range")
        if asked is None:
            super().do_GET()
            return
        start, stop = map(int, asked.removeprefix("bytes=").split("-"))
        data = Path(self.translate_path(self.path)).read_bytes()[start : stop + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Plain(Ranged):
    do_GET = http.server.SimpleHTTPRequestHandler.do_GET


@pytest.mark.parametrize("handler", [Ranged, Plain])
def test_it_is_read_over_http(handler, folder, atlas):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            there = nl.Atlas(f"http://127.0.0.1:{server.server_port}/")
            assert (there.images(f"{LAYER}:5").images == atlas.images(f"{LAYER}:5").images).all()
            assert there.examples(LAYER).alt_text == atlas.examples(LAYER).alt_text
            with pytest.raises(nl.LensError, match="There is no atlas at"):
                nl.Atlas(f"http://127.0.0.1:{server.server_port}/elsewhere")
        finally:
            server.shutdown()


def test_signals_are_kept_as_numbers(tmp_path):
    torch.manual_seed(0)
    net = nl.Network(nn.Sequential(nn.Conv1d(2, 3, 5, padding=2), nn.ReLU()), (2, 40))
    signals = torch.rand(20, 2, 40)
    atlas = swept(net, tmp_path, layers="1", dataset=signals, pixels=True)
    assert atlas.missing == ()
    live = nl.maximize(net, "1:0")
    np.testing.assert_allclose(atlas.images("1:0").images, live.images, atol=1e-4)
    example = atlas.examples("1").top["1:1"][0]
    assert (example.patch == nl.dataset_examples(net, "1", signals, progress=False).top["1:1"][0].patch).all()
