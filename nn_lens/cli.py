"""The `nn-lens` command: opens JupyterLab on the starter notebook, or says whether everything is in place."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from importlib import metadata, resources
from pathlib import Path

from nn_lens.errors import nearest

STARTER = "01_first_look.ipynb"
PACKAGES = (
    "nn-lens",
    "torch",
    "torchvision",
    "numpy",
    "safetensors",
    "anywidget",
    "ipywidgets",
    "ipykernel",
    "jupyterlab",
    "matplotlib",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["doctor"]:
        argparse.ArgumentParser("nn-lens doctor", description=doctor.__doc__).parse_args(arguments[1:])
        return doctor()
    if arguments[:1] == ["sweep"]:
        from nn_lens.atlas.command import main as sweep

        return sweep(arguments[1:])
    parser = argparse.ArgumentParser(
        "nn-lens",
        description="Opens JupyterLab on the starter notebook. `nn-lens doctor` checks the installation, `nn-lens sweep` makes "
        "an atlas of a network.",
    )
    parser.add_argument("folder", metavar="FOLDER", nargs="?", type=Path, help="where the notebooks are, or are put")
    parser.add_argument("--no-browser", action="store_true", help="open no browser; for servers")
    parser.add_argument("--port", type=int, help="the port of JupyterLab; without it 8888, or the next that is free")
    parser.add_argument("--version", action="version", version=f"nn-lens {metadata.version('nn-lens')}")
    options = parser.parse_args(arguments)
    if options.port is not None and not 0 < options.port < 65536:
        parser.error(f"ports go from 1 to 65535, not {options.port}")
    if (
        options.folder is not None
        and not options.folder.exists()
        and (near := nearest(str(options.folder), ["doctor", "sweep"]))
    ):
        parser.error(f"there is no command {str(options.folder)!r}; did you mean `nn-lens {near[0]}`?")
    return open_lab(options.folder, options.no_browser, options.port)


def open_lab(folder: Path | None, no_browser: bool = False, port: int | None = None) -> int:
    """Runs JupyterLab on the starter notebook until it is stopped; its exit status."""
    try:
        folder = notebooks_folder(folder)
    except OSError as error:
        print(
            f"nn-lens: the notebooks cannot be put there ({error}); name another folder: nn-lens FOLDER",
            file=sys.stderr,
        )
        return 1
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--ServerApp.root_dir={folder}",
        f"--LabApp.default_url=/lab/tree/{STARTER}",
    ]
    if no_browser:
        command.append("--no-browser")
    if port is not None:
        # A port that was asked for is the one to open; another would be looked for in vain.
        command += [f"--port={port}", "--ServerApp.port_retries=0"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        print("nn-lens: running as root, so JupyterLab is started with --allow-root.")
        command.append("--allow-root")
    print(f"nn-lens: JupyterLab opens {folder / STARTER}; Ctrl+C twice stops it.", flush=True)
    server = subprocess.Popen(command)
    # Who ends this process ends the server too, which would stay and keep its port.
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    while True:
        try:
            status = server.wait()
            if status and port is not None:
                print(f"nn-lens: if port {port} is taken, name another, or leave --port out.", file=sys.stderr)
            return status
        except KeyboardInterrupt:
            pass  # JupyterLab has had it too, and asks whether to stop


def notebooks_folder(folder: Path | None = None) -> Path:
    """The folder to open: a checkout's notebooks/ when in one, else `folder` with copies of those that it lacks."""
    checkout = Path.cwd() / "notebooks"
    if folder is None and (checkout / STARTER).is_file() and (Path.cwd() / "nn_lens").is_dir():
        return checkout
    folder = (folder or Path("nn-lens-notebooks")).expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    for notebook in packaged_notebooks():
        if not (folder / notebook.name).exists():
            shutil.copyfile(notebook, folder / notebook.name)
    return folder


def packaged_notebooks() -> list[Path]:
    """The notebooks that came with the package; in a checkout installed for editing, the checkout's."""
    package = Path(str(resources.files("nn_lens")))
    for folder in (package / "notebooks", package.parent / "notebooks"):
        if (folder / STARTER).is_file():
            return sorted(folder.glob("*.ipynb"))
    return []


def doctor() -> int:
    """Checks versions, the views, the JupyterLab extension, settings, threads and the cache; exit status 0 when all is well."""
    bad = 0
    for fine, text in (*_versions(), *_parts(), *_extension(), *_server(), *_settings(), *_machine(), *_cache()):
        bad += not fine
        print(f"{'ok     ' if fine else 'PROBLEM'} {text}")
    print(
        "All is well."
        if not bad
        else f"{bad} problem{'s' * (bad > 1)}; `pip install --force-reinstall nn-lens` mends most."
    )
    return int(bad > 0)


Finding = tuple[bool, str]


def _versions() -> Iterator[Finding]:
    yield sys.version_info >= (3, 11), f"Python {sys.version.split()[0]} (3.11 or newer is needed)"
    for name in PACKAGES:
        try:
            yield True, f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            yield False, f"{name} is not installed in {sys.prefix}"
    try:
        import torch
        import torchvision  # noqa: F401
    except Exception as error:
        yield (
            False,
            f"torch and torchvision cannot be imported together ({error}); install both at once: pip install -U torch torchvision",
        )
    else:
        yield (
            True,
            f"torch runs on {'cuda: ' + torch.cuda.get_device_name() if torch.cuda.is_available() else 'the processor'}",
        )


def _parts() -> Iterator[Finding]:
    package = Path(str(resources.files("nn_lens")))
    views = package / "static" / "nn-lens.js"
    yield (
        views.is_file(),
        "the views" if views.is_file() else "the views are not built; run `pip install .` in the checkout",
    )
    found = [notebook.name for notebook in packaged_notebooks()]
    yield bool(found), f"notebooks: {', '.join(found) or 'none found'}"
    try:
        import nn_lens

        net = nn_lens.demo()
        label, share = net.predict(next(iter(net.samples.values())), k=1)[0]
        yield True, f"the bundled network answers ({label}, {share:.0%})"
    except Exception as error:
        yield False, f"the bundled network cannot be used: {type(error).__name__}: {error}"


def _extension() -> Iterator[Finding]:
    from jupyter_core.paths import jupyter_path

    for folder in map(Path, jupyter_path("labextensions")):
        if (folder / "nn-lens" / "package.json").is_file():
            version = json.loads((folder / "nn-lens" / "package.json").read_text())["version"]
            off = _switched_off()
            yield True, f"JupyterLab extension {version}" + (f"; switched off: {', '.join(off)}" if off else "")
            return
    yield False, f"JupyterLab does not find the extension in {', '.join(jupyter_path('labextensions'))}"


def _switched_off() -> list[str]:
    """The plugins of the extension that JupyterLab's plugin manager has switched off, or all of it."""
    from jupyter_core.paths import jupyter_config_path

    off: dict[str, bool] = {}
    for folder in reversed(jupyter_config_path()):
        try:
            page = json.loads((Path(folder) / "labconfig" / "page_config.json").read_text(encoding="utf-8"))
            off |= {str(name): bool(value) for name, value in page["disabledExtensions"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return sorted(name for name, value in off.items() if value and name.partition(":")[0] == "nn-lens")


def _server() -> Iterator[Finding]:
    from jupyter_core.paths import jupyter_config_path

    for folder in map(Path, jupyter_config_path()):
        if (folder / "jupyter_server_config.d" / "nn-lens.json").is_file():
            yield True, "server extension nn_lens.server"
            return
    yield False, f"Jupyter Server does not find the server extension in {', '.join(jupyter_config_path())}"


def _settings() -> Iterator[Finding]:
    from nn_lens.sessions.settings import read_settings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are said here
        settings = read_settings()
    for said in settings.said():
        yield True, f"setting {said}"
    for problem in settings.problems:
        yield False, problem


def _machine() -> Iterator[Finding]:
    import torch

    from nn_lens.sessions import cpu
    from nn_lens.sessions.settings import read_settings

    threads, processors = torch.get_num_threads(), cpu.available()
    used = read_settings().threads or min(threads, processors)
    said = f"{threads} threads on {processors} processor{'s' * (processors > 1)}"
    yield True, said + (f"; sessions will use {used}" if threads != used else "")


def _cache() -> Iterator[Finding]:
    from nn_lens.sessions.cache import default_folder

    folder = default_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        size = sum(file.stat().st_size for file in folder.glob("*.npz"))
        yield True, f"cache {folder} ({size / 2**20:.0f} MB)"
    except OSError as error:
        yield False, f"cache {folder} cannot be written ({error}); set NN_LENS_CACHE to a folder that can"


if __name__ == "__main__":
    sys.exit(main())
