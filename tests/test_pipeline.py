"""dvc.yaml against the code: every stage depends on what it imports, and on nothing else."""

import ast
import importlib.util
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
TRAINING = [name for name in STAGES if name.startswith("train_")]

MOST_CODE_DEPS = 10
LAYERS = [  # each may import from those before it, and from its own
    {"cf.core"},
    {"cf.data", "cf.models", "cf.baselines", "cf.evaluation.metrics"},
    {"cf.training", "cf.bayes", "cf.evaluation"},
    {"cf.reporting", "cf.tracking", "cf.tuning", "cf.inference", "cf.serving"},
    {"cf.cli", "stages"},
]


def imports(path: Path) -> set[str]:
    """The names of all modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path}: relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if source(name) else node.module for name in inner}
    return found


def source(module: str) -> Path | None:
    """The project's file that holds a module, if the project has it."""
    path = ROOT / module.replace(".", "/")
    if path.with_suffix(".py").exists():
        return path.with_suffix(".py")
    return path / "__init__.py" if (path / "__init__.py").exists() else None


def closure(module: str) -> set[str]:
    """The project's files that a module imports, directly or not, itself included.

    A module's template stands beside it and is called like it.
    """
    seen: set[Path] = set()
    waiting = [module]
    while waiting:
        path = source(waiting.pop())
        if path and path not in seen:
            seen.add(path)
            waiting += imports(path)
    seen |= {template for path in seen for template in path.parent.glob(f"{path.stem}.*.jinja")}
    return {str(path.relative_to(ROOT)) for path in seen if path.name != "__init__.py"}


def code_deps(stage: str) -> list[str]:
    return [dep for dep in STAGES[stage]["deps"] if dep.startswith(("cf/", "stages/"))]


def imported(stage: str) -> set[str]:
    """The project's files that a stage imports; models are imported by name."""
    found = closure(STAGES[stage]["cmd"].split()[2])
    if stage.startswith("train_"):
        found |= closure(f"cf.models.{PARAMS[stage]['model']['name']}")
    if stage in ("evaluate", "rank"):
        found |= {str(path.relative_to(ROOT)) for path in ROOT.glob("cf/models/[!_]*.py")}
    return found


def covers(dep: str, file: str) -> bool:
    return file == dep or file.startswith(f"{dep}/")


@pytest.mark.parametrize("stage", STAGES)
def test_all_that_a_stage_imports_is_declared(stage: str) -> None:
    missing = {
        file for file in imported(stage) if not any(covers(dep, file) for dep in code_deps(stage))
    }
    assert not missing


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_is_declared_of_which_nothing_is_imported(stage: str) -> None:
    unused = {
        dep for dep in code_deps(stage) if not any(covers(dep, file) for file in imported(stage))
    }
    assert not unused
    assert len(code_deps(stage)) <= MOST_CODE_DEPS


@pytest.mark.parametrize("stage", TRAINING)
def test_training_depends_on_nothing_that_evaluates_or_reports(stage: str) -> None:
    later = ("cf/evaluation", "cf/reporting", "cf/tracking/mlflow_store.py", "cf/cli")
    assert not [file for file in imported(stage) if file.startswith(later)]


def test_dvc_yaml_is_short() -> None:
    n_lines = len((ROOT / "dvc.yaml").read_text().splitlines())
    assert n_lines < 250 / 12 * len(STAGES)  # more for a project that has added models


def test_one_script_a_stage() -> None:
    scripts = {path.stem for path in ROOT.glob("stages/*.py")} - {"__init__"}
    assert scripts == {
        "ingest",
        "encode",
        "split",
        "train",
        "sample",
        "evaluate",
        "blend",
        "rank",
        "plot",
    }
    assert scripts == {stage["cmd"].split()[2].removeprefix("stages.") for stage in STAGES.values()}


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_says_what_it_does_and_reads_what_another_makes(stage: str) -> None:
    assert STAGES[stage]["desc"]
    made = {
        out if isinstance(out, str) else next(iter(out))
        for other in STAGES.values()
        for kind in ("outs", "metrics", "plots")
        for out in other.get(kind, [])
    }
    for dep in STAGES[stage]["deps"]:
        if not dep.startswith(("cf/", "stages/", "data/own")):
            related = [
                out for out in made if f"{dep}/".startswith(f"{out}/") or out.startswith(dep)
            ]
            assert related, f"{stage} reads {dep}, which no stage makes"


def test_every_section_of_params_belongs_to_a_stage() -> None:
    assert set(PARAMS) - {"cv", "launcher", "ray", "tracking", "tune"} <= set(STAGES)
    for name, stage in STAGES.items():
        reads = {"rank": ["evaluate"], "blend": ["rank"]}.get(name, [])  # and its own, if any
        assert stage.get("params", []) == [*reads, *([name] if name in PARAMS else [])]


def test_imports_point_down_only() -> None:
    def layer(module: str) -> int | None:
        fits = [
            (len(prefix), depth)
            for depth, prefixes in enumerate(LAYERS)
            for prefix in prefixes
            if f"{module}.".startswith(f"{prefix}.")
        ]
        return max(fits)[1] if fits else None

    for path in [*ROOT.glob("cf/**/*.py"), *ROOT.glob("stages/*.py")]:
        module = str(path.relative_to(ROOT).with_suffix("")).replace("/", ".")
        here = layer(module)
        for name in imports(path):
            there = layer(name)
            if here is not None and there is not None:
                assert there <= here, f"{module} imports {name}"


def test_only_tracking_and_serving_import_mlflow_and_only_the_commands_dvc() -> None:
    for path in [*ROOT.glob("cf/**/*.py"), *ROOT.glob("stages/*.py")]:
        roots = {name.split(".")[0] for name in imports(path)}
        assert path.parent.name == "cli" or "dvc" not in roots, path
        assert path.parent.name in ("tracking", "serving") or "mlflow" not in roots, path
        assert path.parent.name == "tuning" or "optuna" not in roots, path


def test_packages_hold_a_docstring_and_nothing_else() -> None:
    for path in ROOT.glob("cf/*/**/__init__.py"):
        body = ast.parse(path.read_text()).body
        assert len(body) == 1, path
        assert isinstance(body[0], ast.Expr), path


def test_modules_can_be_found() -> None:
    for stage in STAGES.values():
        assert importlib.util.find_spec(stage["cmd"].split()[2])
