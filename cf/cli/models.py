"""All trained models, the champion first: cf models."""

import json

import pandas as pd

from cf.cli.output import Format, show
from cf.core import paths
from cf.core.errors import InputError
from cf.inference.load import find_project, trained


def main(form: Format) -> None:
    """Print them with their metrics.

    Raises:
        InputError: this is no project, or no model is trained.
    """
    project = find_project()
    names = trained(project)
    if not names:
        raise InputError(f"{project}: no model is trained yet. Run `dvc repro`.")
    path = project / paths.METRICS
    metrics = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    rows = [{"model": name, **metrics.get(name, {})} for name in names]
    keys = ["model", "rmse", "mae", "rmse_warm", "rmse_cold"]
    frame = pd.DataFrame(rows).reindex(columns=keys)
    show(frame, "Trained models", form, "the first is the champion, which answers if none is named")
