"""What is installed: locked, hashed, licensed, and no more than what cf imports."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from hashlib import sha256
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.project import made_up_ratings, untrained

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "requirements"
LOCKS = sorted(path.stem for path in FOLDER.glob("*.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DEPENDENCIES = PROJECT["project"]["dependencies"]
FAST = PROJECT["project"]["optional-dependencies"]["fast"]
RAY = PROJECT["project"]["optional-dependencies"]["ray"]
RAY_IMPORTS = {"fbgemm-gpu", "fbgemm-gpu-cpu", "ray", "torchrec"}  # fbgemm-gpu: not installed
GROUPS = PROJECT["dependency-groups"]
OPTIONS = {"--only-binary :all:", "--no-binary antlr4-python3-runtime"}


def locked(name: str) -> list[Requirement]:
    text = (FOLDER / f"{name}.txt").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line[:1] not in "#-"]
    return [Requirement(line.split(" --hash")[0]) for line in lines]


def versions(*names: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for requirement in (one for name in names for one in locked(name)):
        (pin,) = requirement.specifier
        found.setdefault(requirement.name, set()).add(pin.version)
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_is_pinned_and_hashed_and_nothing_else_is_said(name: str) -> None:
    text = (FOLDER / f"{name}.txt").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert {line for line in lines if line.startswith("-")} <= OPTIONS
    pin = re.compile(r"[a-z0-9-]+==[0-9][\w.+]*( ; [^\\/]+?)?( +--hash=sha256:[0-9a-f]{64})+ *")
    for line in lines:
        assert line in OPTIONS or pin.fullmatch(line), line[:100]


def test_there_are_these_locks() -> None:
    assert LOCKS == ["bench", "build", "cpu", "cuda", "dev", "ray", "runtime"]


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (DEPENDENCIES + FAST, ["runtime"]),
        (GROUPS["dev"], ["runtime", "dev"]),
        (RAY, ["ray"]),
        (GROUPS["bench"] + DEPENDENCIES + FAST, ["bench"]),
    ],
    ids=["runtime", "dev", "ray", "bench"],
)
def test_what_pyproject_asks_for_is_locked(asked: list[str], names: list[str]) -> None:
    there = versions(*names)
    for line in map(Requirement, asked):
        assert there[canonicalize_name(line.name)], line
        for version in there[canonicalize_name(line.name)]:
            if (names, line.name) == (["bench"], "pandas"):
                assert version.startswith("2.")  # for LensKit
            else:
                assert line.specifier.contains(version), f"{line}: {version} is locked"


def test_locks_agree() -> None:
    runtime, dev, cpu, cuda = map(versions, ("runtime", "dev", "cpu", "cuda"))
    for name in runtime.keys() & dev.keys():
        assert runtime[name] == dev[name]
    assert versions("build") == {"setuptools": runtime["setuptools"]}
    assert cpu == {"torch": {f"{version}+cpu" for version in runtime["torch"]}}
    assert runtime["torch"] == versions("bench")["torch"]
    assert not cuda.keys() & (runtime.keys() | dev.keys() | versions("bench").keys())


def test_the_readme_names_the_torch_that_is_locked() -> None:
    (named,) = re.findall(r"pip install .*\btorch==(\S+)", (ROOT / "README.md").read_text())
    assert {named} == versions("runtime")["torch"]


def test_make_lock_has_what_it_needs() -> None:
    assert "uv" in versions("dev")


# What make does with the locks, in a project of empty packages.


def wheel(folder: Path, name: str, version: str, needs: tuple[str, ...] = ()) -> str:
    """Write a wheel with nothing in it; its line of a lock."""
    info = f"{name.replace('-', '_')}-{version}"
    path = folder / f"{info}-py3-none-any.whl"
    facts = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    facts += "".join(f"Requires-Dist: {need}\n" for need in needs)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{info}.dist-info/METADATA", facts)
        file.writestr(f"{info}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr(f"{info}.dist-info/RECORD", "")
    return f"{name}=={version} --hash=sha256:{sha256(path.read_bytes()).hexdigest()}\n"


class Toy:
    def __init__(self, folder: Path, venv: Path) -> None:
        self.folder = folder
        self.python = folder / "python"  # as quick as a copy
        self.python.write_text(
            f'#!/bin/sh\n[ "$2" = venv ] && exec cp -r {venv} "$3"\nexec {sys.executable} "$@"\n'
        )
        self.python.chmod(0o755)
        self.locks = folder / "requirements"
        self.wheels = folder / "wheels"
        self.locks.mkdir()
        self.wheels.mkdir()
        shutil.copy(ROOT / "Makefile", folder)
        self.lock("build", wheel(self.wheels, "toy-build", "1"))
        self.lock("cpu", f"torch==1+cpu --hash=sha256:{'0' * 64}\n")
        self.lock("cuda", wheel(self.wheels, "nvidia-toy", "1"))
        torch = wheel(self.wheels, "torch", "1", ("nvidia-toy",))
        self.lock("runtime", torch + wheel(self.wheels, "toy", "1", ("toy-needed",)))
        self.lock("dev", wheel(self.wheels, "toy-needed", "1"))

    def lock(self, name: str, lines: str) -> None:
        (self.locks / f"{name}.txt").write_text(lines)

    def read(self, name: str) -> str:
        return (self.locks / f"{name}.txt").read_text()

    def make(self) -> subprocess.CompletedProcess[str]:
        away = {key for key in os.environ if key.startswith(("PIP_", "MAKE", "MFLAGS"))}
        env = {key: value for key, value in os.environ.items() if key not in away}
        env |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels)}
        env |= {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1"}
        command = ["make", ".venv/.packages", f"PYTHON={self.python}"]
        return subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True)

    def installed(self) -> set[str]:
        found = self.folder.glob(".venv/lib/python*/site-packages/*.dist-info")
        names = {path.name.removesuffix(".dist-info") for path in found}
        return {name for name in names if name.startswith(("toy", "torch", "nvidia"))}


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("venv") / ".venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder


@pytest.fixture
def toy(tmp_path: Path, venv: Path) -> Toy:
    return Toy(tmp_path, venv)


one_worker = pytest.mark.xdist_group("toy_locks")  # which makes one environment
has_make = pytest.mark.skipif(not shutil.which("make"), reason="no make here")
EVERYTHING = {"toy_build-1", "toy-1", "toy_needed-1", "torch-1", "nvidia_toy-1"}


@has_make
@one_worker
def test_make_installs_the_locks_and_cuda_where_torch_asks_for_it(toy: Toy) -> None:
    done = toy.make()
    assert done.returncode == 0, done.stderr
    assert toy.installed() == EVERYTHING


@has_make
@one_worker
def test_a_build_of_torch_for_cpus_comes_first_and_needs_no_cuda(toy: Toy) -> None:
    toy.lock("cpu", wheel(toy.wheels, "torch", "1+cpu"))
    done = toy.make()
    assert done.returncode == 0, done.stderr
    assert toy.installed() == EVERYTHING - {"torch-1", "nvidia_toy-1"} | {"torch-1+cpu"}


@has_make
@one_worker
@pytest.mark.parametrize("name", ["build", "runtime", "cuda", "cpu"])
def test_another_file_than_the_locked_one_is_not_installed(toy: Toy, name: str) -> None:
    if name == "cpu":
        toy.lock("cpu", wheel(toy.wheels, "torch", "1+cpu"))
    line = toy.read(name)
    package = line.splitlines()[-1].split(" ")[0].replace("-", "_").replace("==", "-")
    toy.lock(name, line[:-2] + ("1" if line[-2] == "0" else "0") + "\n")  # one digit of a hash
    done = toy.make()
    assert done.returncode
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert package not in toy.installed()
    assert not (toy.folder / ".venv/.packages").exists()


@has_make
@one_worker
def test_a_package_that_is_not_locked_is_missed_not_fetched(toy: Toy) -> None:
    toy.lock("dev", "")
    assert toy.make().returncode
    assert "toy_needed-1" not in toy.installed()


# What the code imports, against what pyproject.toml declares.

PART_OF = {"pydantic-core": "pydantic"}  # of the one version that pydantic names
NOT_IMPORTED = {  # other parts of the packages mlflow and ruamel; types of pandas
    *("mlflow-skinny", "mlflow-tracing", "pandas-stubs", "ruamel-yaml-clib"),
}


def imported() -> dict[str, set[Path]]:
    """The distributions that cf and stages import, and where."""
    distributions = packages_distributions()
    own = sys.stdlib_module_names | {"cf", "stages"}
    found: dict[str, set[Path]] = {}
    for path in [*ROOT.glob("cf/**/*.py"), *ROOT.glob("stages/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            for module in {module.split(".")[0] for module in modules} - own:
                for name in distributions.get(module, [module]):
                    found.setdefault(canonicalize_name(name), set()).add(path.relative_to(ROOT))
    return {PART_OF.get(name, name): files for name, files in found.items()}


def names(asked: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in asked}


def test_cf_imports_what_it_declares_and_declares_what_it_imports() -> None:
    assert imported().keys() - NOT_IMPORTED - names(FAST) - RAY_IMPORTS == names(DEPENDENCIES)


def test_ray_is_imported_where_it_launches_and_nowhere_else() -> None:
    there = imported()
    assert len(RAY_IMPORTS & there.keys()) == len(names(RAY)) == 3
    for name in RAY_IMPORTS & there.keys():
        assert {path.parent for path in there[name]} == {Path("cf/distributed")}


def test_with_the_launcher_local_nothing_of_ray_is_loaded(tmp_path: Path) -> None:
    project = untrained(tmp_path / "project", "dotbias", "bayesmf")
    made_up_ratings().to_csv(project.folder / "data/own/stars.csv", index=False)
    project.change("ingest", lambda section: section.update(dataset="data/own/stars.csv"))
    project.change("train_bayesmf", lambda s: s["gibbs"].update(n_sweeps=2, burn_in=0))
    project.change("tracking", lambda section: section.update(enabled=False))
    code = """
import sys
from importlib import import_module
for stage in ("ingest", "encode", "split", "train dotbias", "sample bayesmf", "evaluate"):
    sys.argv = stage.split()
    import_module("stages." + sys.argv[0]).main()
print(*sys.modules)
"""
    *_, loaded = project.run(sys.executable, "-c", code).stdout.splitlines()
    assert "cf.training.fit" in loaded.split()
    assert not set(loaded.split()) & {"ray", "torchrec", "fbgemm_gpu"}


def test_what_is_optional_is_imported_in_one_place_which_is_guarded() -> None:
    for name in names(FAST):
        assert imported()[name] == {Path("cf/core/jit.py")}
    compiled = {"cf.core.jit": 0, "guarded": 0}
    for path in [*ROOT.glob("cf/**/*.py"), *ROOT.glob("stages/**/*.py")]:
        text = path.read_text()
        compiled["cf.core.jit"] += "cf.core.jit import" in text
        compiled["guarded"] += "except ImportError" in text
    assert min(compiled.values()) > 0


# Licenses.


def test_every_package_that_cf_runs_with_has_a_license() -> None:
    page = (ROOT / "docs/licenses.md").read_text()
    rows = re.findall(r"^\| ([a-z0-9-]+) \| (\S+) \| (.+) \|$", page, re.MULTILINE)
    there = {(name, version) for name, version, _ in rows} - {("package", "version")}
    assert there == {(name, pin) for name, pins in versions("runtime").items() for pin in pins}
    for name, _, license in rows:
        assert not re.search("unknown|proprietary|AGPL|Affero|non-?commercial", license, re.I), name
    prose = page.split("| package |")[0]
    copyleft = {name for name, _, license in rows if "GPL" in license}
    assert copyleft == {"asyncssh", "dulwich", "grandalf", "pygit2"}
    assert all(name in prose for name in copyleft)
    first = [name for name, *_ in rows if name != "package"][: len(DEPENDENCIES + FAST)]
    assert set(first) == names(DEPENDENCIES + FAST)
