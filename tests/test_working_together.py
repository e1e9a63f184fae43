"""Two clones, a bare repository and a remote of DVC: what docs/tutorial.md says works."""

import subprocess
from pathlib import Path

import pytest

from tests.project import ROOT, Project

AGAIN = {"evaluate", "blend", "rank", "plot"}


@pytest.fixture(scope="module")
def team(made: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Project]:
    """Two clones of one repository, with all that DVC keeps."""
    folder = tmp_path_factory.mktemp("team")
    first = made.copy(folder / "first", "mlruns", "cache")
    first.run("dvc", "commit", "--force", "--quiet")
    (first.folder / ".dvc/config.local").unlink()
    first.run("git", "init", "-q", "-b", "main")
    identify(first)
    first.run("dvc", "remote", "add", "--quiet", "--default", "store", str(folder / "store"))
    first.run("git", "add", "-A")
    first.run("git", "commit", "-qm", "one")
    first.run("git", "init", "-q", "--bare", "-b", "main", str(folder / "origin"))
    first.run("git", "remote", "add", "origin", str(folder / "origin"))
    publish(first)
    first.run("git", "clone", "-q", str(folder / "origin"), str(folder / "second"))
    second = Project(folder / "second")
    identify(second)
    return first, second


def identify(project: Project) -> None:
    for key, value in (("user.name", "n"), ("user.email", "e@x.org")):
        project.run("git", "config", key, value)


def publish(project: Project) -> None:
    project.run("dvc", "push", "--quiet")
    project.run("git", "push", "-q", "-u", "origin", "main")


def train(project: Project, model: str) -> str:
    """Train a model with another seed, and commit; the id of the training."""
    project.change(f"train_{model}", lambda section: section.update(seed=7))
    assert f"train_{model}" in project.repro()
    project.run("git", "commit", "-qam", model)
    identifier: str = project.read(f"runs/{model}.json")["id"]
    return identifier


def test_models_trained_on_two_branches_meet_in_one_table(team: tuple[Project, Project]) -> None:
    first, second = team
    early = second.cf("sync", check=False)
    assert early.returncode == 1
    assert "dvc pull" in early.stderr
    assert "Traceback" not in early.stderr
    second.run("dvc", "pull", "--quiet")
    assert second.repro() == []

    dot, dotbias = train(first, "dot"), train(second, "dotbias")
    publish(first)
    second.run("git", "fetch", "-q")
    conflicts = second.run("git", "merge", "origin/main", check=False)
    assert conflicts.returncode == 1
    assert "CONFLICT (content): Merge conflict in dvc.lock" in conflicts.stdout
    second.run("git", "merge", "--abort")

    second.run("git", "merge", "-q", "-X", "ours", "-m", "both", "origin/main")
    second.run("dvc", "pull", "--quiet", "--allow-missing")
    assert set(second.repro()) <= AGAIN
    assert second.repro() == []
    assert second.read("runs/dot.json")["id"] == dot
    assert second.read("runs/dotbias.json")["id"] == dotbias
    evaluated = second.read("reports/evaluated_runs.json")
    assert (evaluated["dot"], evaluated["dotbias"]) == (dot, dotbias)
    second.cf("sync")
    found = {run.data.tags["execution"] for run in second.runs()}
    assert {dot, dotbias} <= found


def test_make_says_what_to_type_where_the_lock_is_in_conflict(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    (tmp_path / "dvc.lock").write_text("stages:\n<<<<<<< HEAD\n=======\n>>>>>>> other\n")
    done = subprocess.run(
        ["make", "scm"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "git merge --abort" in done.stderr
    advice = done.stderr.partition("Type: ")[2].splitlines()[0]
    typed = [part.strip() for part in advice.split("&&")]
    tutorial = (ROOT / "docs/tutorial.md").read_text()
    for command in typed:
        assert f"    {command.replace('BRANCH', 'origin/main')} " in tutorial
