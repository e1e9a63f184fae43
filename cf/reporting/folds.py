"""A cross-validation as a table for the terminal."""

import math

from rich.table import Table

from cf.evaluation.cross_validation import Compared


def cv_table(compared: list[Compared], title: str) -> Table:
    """Models over the folds of a cross-validation, the best first."""
    table = Table(title=title, caption="~ not to be told from the best, at 95%")
    table.add_column("model", no_wrap=True)
    for heading in ("RMSE", "± folds", "± seeds", "to best", "95% interval", ""):
        table.add_column(heading, justify="right")
    for place, row in enumerate(compared):
        interval = f"{row.low:+.4f} to {row.high:+.4f}"
        to_best = (f"{row.to_best:+.4f}", interval, "~" if row.tied else "") if place else ()
        seeds = "" if math.isnan(row.sd_seeds) else f"{row.sd_seeds:.4f}"
        table.add_row(row.model, f"{row.rmse:.4f}", f"{row.sd_folds:.4f}", seeds, *to_best)
    return table
