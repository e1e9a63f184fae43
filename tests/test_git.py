import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from cf.core import git
from cf.core.errors import InputError
from tests.project import ROOT

PARAMS = """
ingest: {dataset: toy, fallback: null}
split: {method: random, seed: 42}
train_dot:
  model: {name: dot, n_factors: 5}
  seed: 1
  optimizer: {name: sgd, weight_decay: %s}
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(PARAMS % "1e-05")


def run_git(*arguments: str) -> None:
    who = ["-c", "user.name=n", "-c", "user.email=e@x.org"]
    subprocess.run(["git", *who, *arguments], check=True)


def test_without_a_commit_nothing_has_changed() -> None:
    assert git.changed_params("dot") == {}
    run_git("init", "-q")
    assert git.changed_params("dot") == {}


def test_asking_git_locks_nothing() -> None:
    run_git("init", "-q")
    run_git("add", ".")
    run_git("commit", "-qm", "one")
    os.utime("params.yaml", (1, 1))  # git would write down that the content is still the same
    before = Path(".git/index").read_bytes()
    assert git.output("status", "--porcelain") == ""
    assert Path(".git/index").read_bytes() == before
    run_git("status")
    assert Path(".git/index").read_bytes() != before


@pytest.mark.parametrize(
    ("committed", "expected"),
    [
        ("train_dot: 5\n", {"seed": 1, "n_factors": 5}),
        ("train_dot: {seed: 1}\nsplit: 3\ningest: [1]\n", {"n_factors": 5}),
        ("- 1\n", {}),
        ("train_dot: {model: {seed: 1}, seed: 1}\n", {}),
    ],
)
def test_a_commit_of_odd_parameters_stops_no_training(
    committed: str, expected: dict[str, int]
) -> None:
    good = Path("params.yaml").read_text()
    Path("params.yaml").write_text(committed)
    run_git("init", "-q")
    run_git("add", ".")
    run_git("commit", "-qm", "odd")
    Path("params.yaml").write_text(good)
    changed = git.changed_params("dot")
    assert {name: changed[name] for name in ("seed", "n_factors") if name in changed} == expected


@pytest.mark.parametrize("setting", ["false", "true"])
def test_a_clone_has_the_same_bytes_on_every_system(setting: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / ".gitattributes", ".gitattributes")
    run_git("init", "-q")
    run_git("add", ".")
    run_git("commit", "-qm", "one")
    run_git("-c", f"core.autocrlf={setting}", "clone", "-q", ".", str(tmp_path / "clone"))
    for name in git.output("ls-files").split():
        assert (tmp_path / "clone" / name).read_bytes() == Path(name).read_bytes(), name
        assert b"\r" not in Path(name).read_bytes()


def test_folders_that_lie_elsewhere_are_no_change(tmp_path: Path) -> None:
    shutil.copy(ROOT / ".gitignore", ".gitignore")
    run_git("init", "-q")
    run_git("add", ".")
    run_git("commit", "-qm", "one")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in (".venv", "mlruns", "models", "blend", "data/split", "reports/history"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).symlink_to(elsewhere)
    assert git.output("status", "--porcelain") == ""


def test_what_changed_has_the_names_that_runs_have() -> None:
    run_git("init", "-q")
    run_git("add", ".")
    run_git("commit", "-qm", "one")
    assert git.changed_params("dot") == {}
    text = PARAMS % "0.00001"  # as DVC writes it, and as people do
    Path("params.yaml").write_text(text)
    assert git.changed_params("dot") == {}
    changed = text.replace("42", "43").replace("sgd", "adam").replace("toy", "own")
    Path("params.yaml").write_text(changed.replace("fallback: null", "fallback: ml-100k"))
    assert git.changed_params("dot") == {"dataset": "own", "split_seed": 43, "optimizer": "adam"}
    assert git.changed_params("new") == {}


def write(*files: str) -> None:
    for file in files:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text("x")


def test_git_lacks_what_is_neither_committed_nor_added() -> None:
    files = ["data/a.csv", "data/b [1] *.csv", "data/c.csv", "data/d.csv", "data/e/f.csv"]
    assert git.untracked(files) == [], "no git, so no experiments either"
    run_git("init", "-q")
    write(*files)
    assert git.untracked([*files, "nowhere.csv"]) == files
    run_git("add", "data/c.csv")
    assert git.untracked(files) == [files[0], files[1], files[3], files[4]]
    run_git("commit", "-qm", "one")
    Path(".gitignore").write_text("/data/d.csv\n")
    assert git.untracked(["data/c.csv", "data/d.csv"]) == ["data/d.csv"]
    assert git.untracked(["data/b*"]) == [], "a name is no pattern"


def test_what_dvc_has_needs_its_pointer_alone() -> None:
    run_git("init", "-q")
    write("data/big.csv", "data/big.csv.dvc", "data/folder/a.csv", "data/folder.dvc")
    files = ["data/big.csv", "data/folder/a.csv"]
    assert git.untracked(files) == ["data/big.csv.dvc", "data/folder.dvc"]
    run_git("add", "data/big.csv.dvc", "data/folder.dvc")
    assert git.untracked(files) == []


def test_the_command_to_type_does_what_it_should() -> None:
    run_git("init", "-q")
    files = ["a b.csv", "data/c.csv", "it's.csv"]
    write(*files)
    for ignored in ("", "c.csv\n"):
        Path(".gitignore").write_text(ignored)
        message = git.explain_untracked(files)
        command = message.split("`")[1]
        assert command.startswith("git add -f " if ignored else "git add 'a b.csv' data/c.csv")
        assert "it does not have a b.csv, data/c.csv, it's.csv." in message
        run_git(*shlex.split(command)[1:])
        assert git.untracked(files) == []
        run_git("rm", "-q", "--cached", *files)


def test_many_files_are_named_in_the_command_alone() -> None:
    message = git.explain_untracked([f"{number}.csv" for number in range(10, 30)])
    assert "16.csv, 17.csv and 12 more. Run `git add 10.csv" in message
    assert "29.csv`" in message


DEPS = """
stages:
  ingest: {cmd: x, deps: [cf/core, data/own, stages/ingest.py, a: {cache: false}]}
  train: {cmd: x, deps: [cf/models/new.py, cf/models/hidden.py, data/split]}
  plot: {cmd: x}
"""


def test_code_is_what_dvc_yaml_depends_on() -> None:
    assert git.untracked_code() == []
    run_git("init", "-q")
    Path("dvc.yaml").write_text(DEPS)
    Path(".gitignore").write_text("hidden.py\n__pycache__\n")
    write("cf/core/helper.py", "cf/core/notes.txt", "cf/core/hidden.py", "cf/core/__pycache__/a.py")
    write("cf/models/new.py", "cf/models/other.py", "cf/models/hidden.py", "stages/ingest.py")
    code = ["cf/core/helper.py", "cf/models/hidden.py", "cf/models/new.py", "stages/ingest.py"]
    assert git.untracked_code() == code
    run_git("add", "-f", *code)
    assert git.untracked_code() == []


@pytest.mark.parametrize("text", ["", "stages: 3", "stages: {a: null}", "a: [", "- 1"])
def test_a_pipeline_that_cannot_be_read_is_for_dvc_to_tell(text: str) -> None:
    run_git("init", "-q")
    Path("dvc.yaml").write_text(text)
    assert git.untracked_code() == []


def test_an_experiments_folder_is_not_the_projects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert git.experiment_root() is None
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert git.experiment_root() is None
    run_git("init", "-q")
    Path("dvc.yaml").write_text(DEPS)
    write("cf/models/new.py", "cf/core/helper.py")
    git.require_code()
    elsewhere = tmp_path / ".dvc/tmp/exps/1"
    elsewhere.mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    assert git.experiment_root() == tmp_path
    write("cf/core/helper.py")
    with pytest.raises(InputError, match=r"Run `git add cf/models/new\.py`"):
        git.require_code()
    write("cf/models/new.py")
    git.require_code()
