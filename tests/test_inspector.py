"""What the side panel asks a kernel: what it is told, and that nothing is left behind."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from nn_lens import inspector

QUESTION = json.loads(
    (Path(__file__).parent.parent / "nn_lens" / "frontend" / "src" / "jupyterlab" / "question.json").read_text()
)


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 5), nn.ReLU(), nn.Sequential(nn.Linear(4, 2, bias=False)))


def nets(names: dict) -> list[dict]:
    return inspector.look(names).content["nets"]


def test_a_module_and_its_layers():
    model = small().eval()
    (net,) = nets({"model": model, "number": 3, "_hidden": small(), "Class": nn.Conv2d})
    layers = net.pop("layers")
    # 4*3*5*5 + 4 weights and biases, 2*4 weights.
    assert net == {
        "name": "model", "kind": "module", "of": "Sequential", "model": str(id(model)), "parameters": 312, "device": "cpu",
        "training": False,
    }  # fmt: skip
    assert layers == [
        ["0", "Conv2d", [4, 3, 5, 5], 304], ["1", "ReLU", [], 0], ["2", "Sequential", [], 0], ["2.0", "Linear", [2, 4], 8],
    ]  # fmt: skip


def test_networks_and_sessions_and_one_attribute_deep(demo):
    import nn_lens as nl

    class Trainer:
        def __init__(self):
            self.model, self.best, self._own = small().train(), demo, small()

    model, session = small(), nl.Session(demo, cache=False)
    names = {"nl": nl, "net": demo, "session": session, "trainer": Trainer(), "again": type("T", (), {})(), "m": model}
    names["again"].model = model
    content = inspector.look(names).content
    assert [(n["name"], n["kind"], n["training"]) for n in content["nets"]] == [
        ("net", "network", False), ("session", "session", False), ("m", "module", True),
        ("trainer.model", "module", True),
    ]  # fmt: skip
    assert content["nets"][0]["of"] == demo.name
    lens = nl.Lens(session)
    models = [n["model"] for n in content["nets"]]
    assert models[0] == models[1] == lens._network["model"], "panels and the list agree on which network is which"
    assert len(set(models)) == 3
    lens.close()
    assert content["alias"] == "nl"
    assert content["whole"]


def test_shared_weights_count_once_and_lazy_layers_have_none_yet():
    one = nn.Linear(3, 3)
    tied, lazy = nn.ModuleList([one, nn.Linear(3, 3)]), nn.LazyLinear(4)
    tied[1].weight = one.weight
    (first, second) = nets({"tied": tied, "lazy": lazy})
    assert first["parameters"] == 9 + 3 + 3
    assert second["parameters"] == 0
    meta = nets({"meta": nn.Linear(2, 2, device="meta")})[0]
    assert meta["device"] == "meta"


class Trap:
    """Whatever is done with it but asking its type is counted."""

    touched = 0

    def _count(self, *_):
        Trap.touched += 1
        raise RuntimeError("touched")

    __repr__ = __str__ = __len__ = __iter__ = __bool__ = __eq__ = __getattr__ = __getattribute__ = _count
    __hash__ = None


class TrapModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.inside = nn.Linear(2, 2)

    def __repr__(self):
        Trap.touched += 1
        raise RuntimeError("touched")

    def named_modules(self, *_, **__):
        Trap.touched += 1
        raise RuntimeError("touched")

    parameters = named_parameters = children = state_dict = named_modules

    @property
    def lazy(self):
        Trap.touched += 1
        raise RuntimeError("touched")


def test_nothing_of_the_users_runs():
    Trap.touched = 0

    class Holder:
        pass

    holder = Holder()
    holder.trap, holder.net = Trap(), TrapModule()
    found = nets({"trap": Trap(), "traps": [Trap()], "net": TrapModule(), "holder": holder})
    assert [n["name"] for n in found] == ["net", "holder.net"]
    assert Trap.touched == 0


def test_a_proxy_is_not_taken_for_what_it_stands_for():
    class Proxy:
        @property
        def __class__(self):
            raise AssertionError("a proxy would now make what it stands for")

    assert nets({"proxy": Proxy()}) == []


class Plain:
    pass


def test_many_names_and_large_networks_are_bounded(monkeypatch):
    large = nn.ModuleDict({f"block{i}": nn.ModuleList(nn.Linear(1, 1) for _ in range(50)) for i in range(200)})
    names = {**{f"n{i}": i for i in range(5000)}, **{f"o{i}": Plain() for i in range(1000)}, "late": small()}
    took = []
    for _ in range(5):
        names.update({f"m{i}": i for i in range(100_000)})
        began = time.perf_counter()
        inspector.look(names)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.1, "fifty milliseconds, and what one more network takes"
    monkeypatch.setattr(inspector, "SECONDS", 60)
    content = inspector.look({"large": large, **names}).content
    assert [n["name"] for n in content["nets"]] == ["large"], "the five hundred first, of which numbers are none"
    assert not content["whole"]
    content = inspector.look({"large": large, "more": small()}).content
    assert not content["whole"]
    assert sum(len(n["layers"]) for n in content["nets"]) <= inspector.LAYERS


def test_markup_and_endless_names_are_told_as_text():
    model = nn.Module()
    model.add_module("<img src=x onerror=alert(1)>" + "x" * 5000, nn.ReLU())
    name = nets({"model": model})[0]["layers"][0][0]
    assert name.startswith("<img")
    assert len(name) == inspector.TEXT


def test_what_goes_wrong_is_said_and_not_raised():
    class Odd(dict):
        def items(self):
            raise KeyError("odd")

    assert inspector.look(Odd()).content["problem"] == "KeyError"


def test_it_imports_nothing_that_a_kernel_has_not():
    code = (
        "import __future__, ast, json, pathlib, sys, time, typing, collections.abc; before = set(sys.modules)\n"
        "import nn_lens.inspector; print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['nn_lens', 'nn_lens.inspector']"


# ---- in a kernel ----


@pytest.fixture(scope="module")
def kernel():
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel()
    assert ask(client)["data"]["text/plain"] == "'idle'", "torch is not loaded to look for it"
    run(client, "import torch\nmodel = torch.nn.Conv2d(3, 4, 5)")
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def ask(client) -> dict:
    """The side panel's request; what is broadcast meanwhile but for busy and idle is an echo that others would see."""
    sent = client.execute("", silent=True, store_history=False, user_expressions=QUESTION, allow_stdin=False)
    reply = client.get_shell_msg(timeout=60)
    assert reply["parent_header"]["msg_id"] == sent
    while True:
        message = client.get_iopub_msg(timeout=60)
        if message["parent_header"].get("msg_id") != sent:
            continue
        assert message["header"]["msg_type"] == "status", message
        if message["content"]["execution_state"] == "idle":
            return reply["content"]["user_expressions"]["seen"]


STATE = """
import json as _j, sys as _s
_ip = get_ipython()
_state = {
    "names": sorted(n for n in globals() if n not in ("_state", "_j", "_s", "_ip")),
    "In": len(In), "Out": sorted(map(str, Out)), "count": _ip.execution_count,
    "history": len(list(_ip.history_manager.get_range())), "error": str(getattr(_s, "last_value", None)),
    "modules": sorted(_s.modules),
}
print(_j.dumps(_state))
"""


def run(client, code: str, **options) -> str:
    printed = []
    client.execute_interactive(
        code, timeout=120, output_hook=lambda m: printed.append(m["content"].get("text", "")), **options
    )
    return "".join(printed)


def state(client) -> dict:
    return json.loads(run(client, STATE, silent=False, store_history=False).strip().splitlines()[-1])


def test_fifty_inspections_leave_nothing(kernel):
    run(kernel, "40 + 2")
    run(kernel, "1 / 0", stop_on_error=False)
    state(kernel)  # what it needs itself is there
    before = state(kernel)
    assert before["Out"] == ["2"]
    assert before["error"] == "division by zero"
    for _ in range(50):
        seen = ask(kernel)["data"]["application/json"]
        assert [n["name"] for n in seen["nets"]] == ["model"]
    after = state(kernel)
    added = set(after.pop("modules")) - set(before.pop("modules"))
    assert after == before
    assert added == {"nn_lens", "nn_lens.inspector"}
    assert run(kernel, "print(_)").strip() == "42"


def test_a_kernel_without_nn_lens_says_so_and_raises_nothing(kernel):
    run(kernel, "import sys, importlib.util as u\n_find = u.find_spec\nu.find_spec = lambda *a, **k: None")
    try:
        assert ask(kernel)["data"]["text/plain"] == "'absent'"
    finally:
        run(kernel, "u.find_spec = _find\ndel u")
    assert ask(kernel)["data"]["application/json"]["nets"]


def test_names_of_the_user_do_not_shadow_the_question(kernel):
    run(kernel, "globals = look = sys = nn_lens = importlib = None")
    assert [n["name"] for n in ask(kernel)["data"]["application/json"]["nets"]] == ["model"]


assert torch  # the classes are looked for in what is loaded
