"""runs/<model>.json: which MLflow run holds the training that made a model."""

from cf.data import tables
from stages import paths


def write(name: str, run_id: str | None, seconds: list[float]) -> None:
    """Point to the run of the training of `name`, None where it was not recorded.

    Args:
        seconds: of each epoch; they are here because the history has only what repeats.
    """
    content = {"run_id": run_id, "seconds": [round(second, 3) for second in seconds]}
    tables.write_json(paths.RUNS / f"{name}.json", content)


def read() -> dict[str, str | None]:
    """The run of each trained model, by name."""
    pointers = sorted(paths.RUNS.glob("*.json"))
    return {path.stem: tables.read_json(path)["run_id"] for path in pointers}
