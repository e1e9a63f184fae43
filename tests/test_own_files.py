"""The user's own files where experiments run, and what says that they are not there."""

import subprocess
from pathlib import Path

import pytest

from cf.core.errors import InputError
from cf.data import own_files


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a repository of git with own files, none of which git has."""
    root = tmp_path / "project"
    for name in ("data/own/a.csv", "data/own/b.csv", "data/own/notes.md", "mine.csv"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("u,i,r\n1,2,3\n")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    monkeypatch.chdir(root)
    return root


def test_own_files_are_those_that_params_name() -> None:
    ingest = {"dataset": "a.csv", "items": "items.csv", "users": {"file": "users.csv"}}
    split = {"method": "file", "file": "split.csv"}
    found = own_files.named({"ingest": ingest, "split": split, "train_dot": {"file": "x"}})
    assert found == ["a.csv", "items.csv", "users.csv", "split.csv"]
    ingest = {"dataset": "ml-1m", "items": None}
    assert own_files.named({"ingest": ingest, "split": split | {"method": "time"}}) == []
    assert own_files.named({"ingest": None}) == []
    assert own_files.named({"split": {"method": "file"}, "ingest": {"users": {}}}) == []
    assert own_files.named({"ingest": {"dataset": 7, "users": "u.csv"}}) == ["u.csv"]


@pytest.mark.parametrize(
    ("path", "files"),
    [
        ("mine.csv", ["mine.csv"]),
        ("./data/../mine.csv", ["mine.csv"]),
        ("data/own", ["data/own/a.csv", "data/own/b.csv"]),
        ("data/own/*.csv", ["data/own/a.csv", "data/own/b.csv"]),
        ("nowhere.csv", []),
        ("~nobody-here/x.csv", []),
        ("x" * 300, []),
    ],
)
def test_a_path_a_folder_and_a_pattern_are_files(
    project: Path, path: str, files: list[str]
) -> None:
    assert own_files.untracked([path]) == files
    subprocess.run(["git", "add", "mine.csv", "data/own/b.csv"], check=True)
    assert own_files.untracked([path]) == [file for file in files if file.endswith("a.csv")]


def test_a_whole_path_is_the_same_everywhere(project: Path) -> None:
    assert own_files.untracked([str(project / "mine.csv")]) == []
    others = [str(project / "mine.csv"), "x" * 300, "~nobody-here/x.csv", "mine.csv"]
    assert own_files.untracked(others) == ["mine.csv"]
    assert own_files.untracked(["~/mine.csv"]) == []


def test_a_path_out_of_the_project_must_be_whole(project: Path) -> None:
    (project.parent / "out.csv").write_text("u,i,r\n1,2,3\n")
    with pytest.raises(InputError) as caught:
        own_files.untracked(["../out.csv"])
    assert str(caught.value) == (
        "params.yaml: ../out.csv: experiments run in a folder of their own, from where this leads "
        f"elsewhere. State the whole path: {project.parent / 'out.csv'}"
    )
    (project / "..x.csv").write_text("u,i,r\n1,2,3\n")
    assert own_files.untracked(["..x.csv"]) == ["..x.csv"]


def test_files_of_a_project_elsewhere_are_named_from_its_root(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.parent)
    assert own_files.untracked(["mine.csv", "data/own"], project) == [
        *("data/own/a.csv", "data/own/b.csv", "mine.csv"),
    ]


def test_an_experiments_folder_lacks_what_git_has_not(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sections = {"ingest": {"dataset": "data/own"}}
    monkeypatch.setenv("DVC_ROOT", str(project))
    own_files.require(sections)
    elsewhere = project / ".dvc/tmp/exps/1"
    (elsewhere / "data/own").mkdir(parents=True)
    (elsewhere / "data/own/a.csv").write_text("u,i,r\n1,2,3\n")
    monkeypatch.chdir(elsewhere)
    with pytest.raises(
        InputError, match=r"not have data/own/b\.csv\. Run `git add data/own/b\.csv`"
    ):
        own_files.require(sections)
    (elsewhere / "data/own/b.csv").write_text("u,i,r\n1,2,3\n")
    own_files.require(sections)
    (project / ".gitignore").write_text("mine.csv\n")
    with pytest.raises(InputError, match=r"not have mine\.csv\. Run `git add -f mine\.csv`"):
        own_files.require({"ingest": {"dataset": "mine.csv"}})
    (project / "dvc.yaml").write_text("stages: {ingest: {cmd: x, deps: [code.py]}}\n")
    (project / "code.py").write_text("")
    with pytest.raises(InputError, match=r"not have code\.py\. Run `git add code\.py`"):
        own_files.require(sections)
