"""Sweeps that are disturbed: workers and callers that are killed, disks that fill, executors that break; what is left is
always, to the bit, what a sweep makes that nobody disturbs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from atlases import ASKED, files, pictures
from models import small

import nn_lens as nl
from nn_lens.atlas import sweeping

pytestmark = pytest.mark.usefixtures("_small_tasks")


@pytest.fixture(scope="module")
def net() -> nl.Network:
    return small()


def workers() -> list[int]:
    """The processes of the pool, by their numbers."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == os.getpid() and b"spawn_main" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the workers in /proc")
def test_workers_killed_during_writes_lose_nothing(net, undisturbed, tmp_path, monkeypatch):
    """Own processes: the pool is built anew, and what they had in hand is done again."""
    writes = 0
    replace = os.replace

    def killing(*names):
        nonlocal writes
        writes += 1
        if writes in (2, 5):
            for pid in workers():
                os.kill(pid, signal.SIGKILL)
        replace(*names)

    monkeypatch.setattr("nn_lens.atlas.storage.os.replace", killing)
    atlas = nl.sweep(net, tmp_path / "atlas", dataset=pictures(), workers=2, **ASKED)
    assert atlas.missing == ()
    assert writes > 10
    assert files(tmp_path / "atlas") == undisturbed
    assert not (tmp_path / "atlas.recipe").exists()
    assert not workers()


SCRIPT = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import nn_lens as nl
from concurrent.futures import ThreadPoolExecutor
from atlases import ASKED, pictures, small_tasks
from models import small
{before}
with small_tasks(), ThreadPoolExecutor(1) as executor:
    atlas = nl.sweep(small(), {folder!r}, dataset=pictures(), executor=executor, **ASKED)
print(*[m.reason for m in atlas.missing], sep="\\n")
"""

KILLED = """
from nn_lens.atlas import storage
real = open
class Half:
    def __init__(self, stream): self.stream = stream
    def __enter__(self): return self
    def __exit__(self, *_): self.stream.close()
    def write(self, data):
        if number[0] == {number}:
            self.stream.write(data[: len(data) // 2]); self.stream.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        number[0] += 1
        return self.stream.write(data)
    def flush(self): self.stream.flush()
    def fileno(self): return self.stream.fileno()
number = [0]
from pathlib import Path
opened = Path.open
Path.open = lambda self, mode="r", *a, **k: Half(opened(self, mode, *a, **k)) if mode == "wb" else opened(self, mode, *a, **k)
"""


def run(folder: Path, before: str) -> subprocess.CompletedProcess[str]:
    script = SCRIPT.format(tests=str(Path(__file__).parent.parent), before=before, folder=str(folder))
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)


@pytest.mark.skipif(sys.platform == "win32", reason="takes SIGKILL")
def test_a_caller_killed_in_the_middle_of_a_write_goes_on(net, undisturbed, tmp_path):
    folder = tmp_path / "atlas"
    done = run(folder, KILLED.format(number=8))
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = files(folder)
    assert any(name.endswith(".part") for name in left)
    whole = {name: data for name, data in left.items() if not name.endswith(".part") and name.startswith("shards")}
    assert len(whole) > 0
    assert whole == {name: undisturbed[name] for name in whole}
    with ThreadPoolExecutor(1) as executor:
        atlas = nl.sweep(net, folder, dataset=pictures(), executor=executor, **ASKED)
    assert atlas.missing == ()
    assert files(folder) == undisturbed


def test_a_sweep_stopped_while_it_merges_finds_the_parts_again(net, undisturbed, tmp_path, monkeypatch):
    own = sweeping._Making._write_examples

    def stopped(self, layer, ranges):
        if layer == "3":
            raise KeyboardInterrupt
        own(self, layer, ranges)

    with ThreadPoolExecutor(1) as executor:
        with monkeypatch.context() as patch:
            patch.setattr(sweeping._Making, "_write_examples", stopped)
            with pytest.raises(KeyboardInterrupt):
                nl.sweep(net, tmp_path / "atlas", dataset=pictures(), executor=executor, **ASKED)
        assert len(list((tmp_path / "atlas" / "ranges").iterdir())) == 4
        with monkeypatch.context() as patch:
            patch.setattr(
                sweeping.crews.Crew, "work", lambda self, tasks, done: None if not tasks else pytest.fail(str(tasks))
            )
            nl.sweep(net, tmp_path / "atlas", dataset=pictures(), executor=executor, **ASKED)
    assert files(tmp_path / "atlas") == undisturbed


@contextlib.contextmanager
def small_disk(folder: Path, kilobytes: int):
    """A file system of that size, where mounting is allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_says_so_and_the_same_call_goes_on_when_there_is_room(net, undisturbed, tmp_path):
    needed = sum(map(len, undisturbed.values())) // 1024
    with small_disk(tmp_path / "disk", needed // 2) as mounted:
        if not mounted:
            pytest.skip("mounting is not allowed; the limit of a file's size is tested")
        folder = tmp_path / "disk"
        with ThreadPoolExecutor(1) as executor:
            atlas = nl.sweep(net, folder, dataset=pictures(), executor=executor, **ASKED)
            assert "it could not be written (No space left on device)" in [m.reason for m in atlas.missing]
            more = ["mount", "-o", f"remount,size={20 * needed}k", str(tmp_path / "disk")]
            subprocess.run(more, check=True)
            atlas = nl.sweep(net, folder, dataset=pictures(), executor=executor, **ASKED)
        assert atlas.missing == ()
        assert files(folder) == undisturbed


@pytest.mark.skipif(sys.platform == "win32", reason="takes setrlimit")
def test_a_file_that_may_not_be_so_large_says_so(net, undisturbed, tmp_path):
    folder = tmp_path / "atlas"
    size = max(map(len, undisturbed.values())) - 1
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))"
    # The recipe itself is larger: it is written before.
    before = f"from nn_lens.atlas import sweeping\nown = sweeping.crews.Crew.work\ndef work(*a):\n    {limit}\n    own(*a)\nsweeping.crews.Crew.work = work"
    done = run(folder, before)
    assert done.returncode == 0, done.stderr
    assert "could not be written (File too large)" in done.stdout
    with ThreadPoolExecutor(1) as executor:
        atlas = nl.sweep(net, folder, dataset=pictures(), executor=executor, **ASKED)
    assert atlas.missing == ()
    assert files(folder) == undisturbed


class Restarting(ThreadPoolExecutor):
    """As a scheduler that is restarted: what it has in hand is cancelled, or ends in an error of its own; and a task runs twice."""

    def __init__(self):
        super().__init__(1)
        self.count = 0

    def submit(self, call, *arguments):
        self.count += 1
        if self.count in (3, 8):
            lost: Future = Future()
            lost.set_exception(ConnectionError("the scheduler went away")) if self.count == 3 else lost.cancel()
            return lost
        if self.count == 5:
            super().submit(call, *arguments)
        return super().submit(call, *arguments)


def test_a_scheduler_that_is_restarted_loses_nothing(net, undisturbed, tmp_path):
    with Restarting() as executor:
        atlas = nl.sweep(net, tmp_path / "atlas", dataset=pictures(), executor=executor, **ASKED)
    assert executor.count > 8
    assert atlas.missing == ()
    assert files(tmp_path / "atlas") == undisturbed


class Poisoned(ThreadPoolExecutor):
    """Whatever has to do with one task breaks the pool."""

    def submit(self, call, recipe, task, attempt):
        if task.what == "filters" and task.layer == "3":
            lost: Future = Future()
            lost.set_exception(BrokenProcessPool("a process ended abruptly"))
            return lost
        return super().submit(call, recipe, task, attempt)


def test_a_task_that_kills_its_workers_is_given_up_and_no_other(net, undisturbed, tmp_path):
    with Poisoned(1) as executor:
        atlas = nl.sweep(net, tmp_path / "atlas", dataset=pictures(), executor=executor, **ASKED)
    assert [(m.what, m.layer) for m in atlas.missing] == [("filters", "3")]
    assert atlas.missing[0].reason == "its worker ended 3 times (BrokenProcessPool: a process ended abruptly)"
    with pytest.raises(nl.LensError, match="no filters of 3: its worker ended 3 times"):
        atlas.filters("3")
    got = files(tmp_path / "atlas")
    gone = {name for name in undisturbed if "filters-3" in name}
    assert {n: d for n, d in got.items() if n != "atlas.json"} == {
        n: d for n, d in undisturbed.items() if n not in gone and n != "atlas.json"
    }


def test_an_executor_that_was_shut_down_is_no_crash(net, tmp_path):
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    atlas = nl.sweep(net, tmp_path / "atlas", dataset=pictures(), executor=executor, **ASKED)
    assert "cannot schedule new futures after shutdown" in atlas.missing[0].reason


def test_an_interrupt_ends_the_workers_and_keeps_what_was_done(net, undisturbed, tmp_path, monkeypatch):
    def interrupted(self, task, done):
        if len(list(self.folder.glob("shards/*"))) > 3:
            raise KeyboardInterrupt
        return own(self, task, done)

    own = sweeping._Making._done
    with monkeypatch.context() as patch:
        patch.setattr(sweeping._Making, "_done", interrupted)
        with pytest.raises(KeyboardInterrupt):
            nl.sweep(net, tmp_path / "atlas", dataset=pictures(), workers=1, **ASKED)
    assert not workers()
    kept = nl.Atlas(tmp_path / "atlas")
    assert kept.missing == ()
    assert kept.about["shards"]
    with ThreadPoolExecutor(1) as executor:
        nl.sweep(net, tmp_path / "atlas", dataset=pictures(), executor=executor, **ASKED)
    assert files(tmp_path / "atlas") == undisturbed


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the workers in /proc")
def test_workers_end_with_a_caller_that_is_killed(tmp_path):
    script = textwrap.dedent(
        f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
        from concurrent.futures import wait
        from nn_lens.atlas.crew import Crew
        if __name__ == "__main__":
            crew = Crew(None, None, 1)
            crew._own_pool().submit(time.sleep, 0).result()
            print(*crew._pool._processes, flush=True)
            time.sleep(60)
        """
    )
    (tmp_path / "caller.py").write_text(script)
    with subprocess.Popen([sys.executable, str(tmp_path / "caller.py")], stdout=subprocess.PIPE, text=True) as caller:
        pid = int(caller.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        caller.kill()
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists():
            break
        time.sleep(0.1)
    assert not Path(f"/proc/{pid}").exists()


# ---- what workers get ----


def test_what_is_defined_in_a_notebook_goes_along(tmp_path):
    """In a kernel, whose classes no worker can import; and nothing of the model is in what is sent."""
    import nbformat
    from nbclient import NotebookClient

    cell = f"""
import torch, nn_lens as nl
class Mine(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 5)
    def forward(self, x):
        return twice(self.conv(x)).amax((2, 3))
def twice(x):
    return 2 * x
net = nl.Network(Mine(), (3, 16, 20), False, labels=["a", "b", "c", "d"])
atlas = nl.sweep(net, {str(tmp_path / "atlas")!r}, layers="conv", units="conv:1", dataset=torch.rand(40, 3, 16, 20), what=("filters", "maximizing", "examples"), workers=1, progress=False)
assert atlas.missing == (), atlas.missing
assert (atlas.filters("conv").weights == net.model.conv.weight.detach().numpy()).all()
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    assert nl.Atlas(tmp_path / "atlas").images("conv:1").images.shape[1] == 3


def test_what_cannot_be_sent_names_the_file_to_make(net, tmp_path):
    broken = small()
    broken.model.lock = __import__("threading").Lock()
    with pytest.raises(
        nl.LensError, match=r"cannot be sent to another process .* into a file of your own, such as mine.py"
    ):
        nl.sweep(broken, tmp_path / "atlas", what="filters", progress=False)


def test_a_script_that_is_not_guarded_is_told(tmp_path):
    (tmp_path / "script.py").write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent.parent)!r})\n"
        f"import nn_lens as nl\nfrom models import small\n"
        f"print(nl.sweep(small(), {str(tmp_path / 'atlas')!r}, what='filters', workers=1, progress=False).missing)\n"
    )
    done = subprocess.run([sys.executable, str(tmp_path / "script.py")], capture_output=True, text=True, timeout=120)
    assert (
        'A sweep starts processes, each of which reads this script: put the call under `if __name__ == "__main__":`'
        in done.stderr
    )
    assert "LensError: The workers end as soon as they begin" in done.stderr
    assert done.returncode == 1


def test_a_process_executor_of_ones_own(net, undisturbed, tmp_path):
    import multiprocessing

    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        atlas = nl.sweep(net, tmp_path / "atlas", dataset=pictures(), executor=executor, **ASKED)
    assert atlas.missing == ()
    assert files(tmp_path / "atlas") == undisturbed
