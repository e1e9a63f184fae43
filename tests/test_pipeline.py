"""dvc.yaml against the code: every stage depends on exactly what it imports."""

import ast
import importlib.util
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
TRAINING = [name for name in STAGES if name.startswith("train_")]

LAYERS = [  # each may import from those before it, and from its own
    {"cf.core.errors", "cf.core.io", "cf.core.config", "cf.core.ratings"},
    {"cf.data", "cf.models", "cf.baselines", "cf.evaluation.metrics", "cf.evaluation.crosstab"},
    {"cf.training", "cf.evaluation"},
    {"cf.bayes"},
    {"cf.tuning"},
    {"cf.reporting", "cf.tracking.record", "cf.tracking.mlflow_store"},
    {"stages"},
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


def files_of(dep: str) -> set[str]:
    path = ROOT / dep
    if path.is_file():
        return {dep}
    return {str(p.relative_to(ROOT)) for p in path.rglob("*.py") if p.name != "__init__.py"}


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_exactly_what_the_stage_imports(stage: str) -> None:
    module = STAGES[stage]["cmd"].split()[2]
    imported = closure(module)
    if stage.startswith("train_"):
        imported.add(f"cf/models/{PARAMS[stage]['model']['name']}.py")
    if stage in ("evaluate", "rank"):
        imported |= files_of("cf/models")
    declared = set().union(*map(files_of, code_deps(stage)))
    assert declared == imported


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
    assert set(PARAMS) - {"cv", "tracking", "tune"} <= set(STAGES)
    for name, stage in STAGES.items():
        reads = ["evaluate"] if name == "rank" else []  # which part is judged, and a baseline
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


def test_only_the_recorder_imports_mlflow_and_nobody_dvc() -> None:
    for path in [*ROOT.glob("cf/**/*.py"), *ROOT.glob("stages/*.py")]:
        roots = {name.split(".")[0] for name in imports(path)}
        assert "dvc" not in roots, path
        assert path.name == "recorder.py" or "mlflow" not in roots, path


def test_only_the_search_imports_optuna_and_only_its_command_the_search() -> None:
    for path in [*ROOT.glob("cf/**/*.py"), *ROOT.glob("stages/*.py")]:
        names = imports(path)
        assert path.parent.name == "tuning" or not any("optuna" in name for name in names), path
        inside = path.parent.name == "tuning" or path.name == "tune.py"
        assert inside or not any(name.startswith("cf.tuning") for name in names), path


def test_packages_hold_a_docstring_and_nothing_else() -> None:
    for path in [*ROOT.glob("cf/**/__init__.py"), ROOT / "stages/__init__.py"]:
        body = ast.parse(path.read_text()).body
        assert len(body) == 1, path
        assert isinstance(body[0], ast.Expr), path


def test_modules_can_be_found() -> None:
    for stage in STAGES.values():
        assert importlib.util.find_spec(stage["cmd"].split()[2])
