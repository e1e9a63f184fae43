"""All trained models, the champion first: cf models."""

import pandas as pd

from cf.cli.output import Format, show
from cf.core.errors import InputError
from cf.inference.load import find_project, metrics, trained


def main(form: Format) -> None:
    """Print the trained models with their metrics.

    Raises:
        InputError: this is no project, or no model is trained.
    """
    project = find_project()
    names = trained(project)
    if not names:
        raise InputError(f"{project}: no model is trained yet. Run `dvc repro`.")
    evaluated = metrics(project)
    rows = [{"model": name, **evaluated.get(name, {})} for name in names]
    keys = ["model", "rmse", "mae", "rmse_warm", "rmse_cold"]
    frame = pd.DataFrame(rows).reindex(columns=keys)
    show(frame, "Trained models", form, "the first is the champion, which answers if none is named")
