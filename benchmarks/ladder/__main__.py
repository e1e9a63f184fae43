"""bayesmf, as params.yaml has it, on rows that others publish on. Chooses nothing.

Prints a table of cf's RMSE beside the best published one that can be trusted, and a list of what
is published. Data that is not here is downloaded; a row whose data cannot be had is left out, with
a word. A chain uses one thread, so as many run at a time as there are processes.
"""

import argparse
import multiprocessing
import sys
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.ladder.published import FIGURES, best
from benchmarks.ladder.rows import LADDER, Row, choose, locate
from benchmarks.ladder.score import Chain, Result, run, summarize
from cf.core import config, git, io, paths
from cf.core.config import Evaluate, Sampling
from cf.core.errors import InputError, exit_on_input_error

SETTINGS = ("params.yaml", "cf/bayes", "cf/core/neighbors.py", "cf/models/bayesmf.py")


def say(line: str) -> None:
    """Tell how it goes, apart from the tables."""
    print(line, file=sys.stderr, flush=True)


def settings_commit() -> str:
    """The last commit that changed the settings or the sampler, as an end of a title."""
    commit = git.output("log", "-1", "--format=%h", "--", *SETTINGS).strip()
    since = git.output("status", "--porcelain", "--", *SETTINGS)
    edited = " and uncommitted changes" if since else ""
    return f", settings and sampler of commit {commit}{edited}" if commit else ""


def published(row: Row) -> str:
    """The best published RMSE of a row that can be trusted, and whose it is."""
    figure = best(FIGURES.get(row.name, ()) + FIGURES.get(row.dataset, ()))
    return f"{figure.rmse} {figure.system}" if figure else ""


def results_table(results: list[Result], title: str) -> Table:
    """A row for each result."""
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=0)
    for heading in ("data set", "rows", "published, trusted"):
        table.add_column(heading)
    for heading in (
        "train",
        "test",
        "bias",
        "cf, no times",
        "cf",
        "95%",
        "ahead of bias",
        "fit, s",
    ):
        table.add_column(heading, justify="right")
    for found in results:
        row = LADDER[found.row]
        no_times = "" if found.no_times is None else f"{found.no_times:.4f}"
        interval, ahead = ("{:.4f} to {:.4f}".format(*i) for i in (found.interval, found.ahead))
        table.add_row(
            *(row.dataset, row.what, published(row)),
            *(f"{found.n_train:,}", f"{found.n_test:,}", f"{found.bias:.4f}", no_times),
            *(f"{found.rmse:.4f}", interval, ahead, f"{found.seconds:.1f}"),
        )
    return table


def published_table(rows: list[Row]) -> Table:
    """All published figures for these rows."""
    table = Table(title="What others publish", box=box.SIMPLE_HEAD, padding=0)
    for heading in ("rows", "RMSE", "system", "source", "trusted", "why"):
        table.add_column(heading, justify="right" if heading == "RMSE" else "left")
    names = dict.fromkeys(name for row in rows for name in (row.name, row.dataset))
    for name in names:
        for figure in FIGURES.get(name, ()):
            source = f"{figure.source} {figure.year}"
            cells = figure.rmse, figure.system, source, figure.trusted, figure.why
            table.add_row(name, *cells)
    return table


@exit_on_input_error
def main() -> None:
    """Run the rows, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ladder", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(LADDER)}")
    parser.add_argument("--seeds", type=int, default=3, help="of the sampler, from 1")
    parser.add_argument("--processes", type=int, default=1, help="chains at a time")
    parser.add_argument("--factors", type=int, help="n_factors, instead of params.yaml's")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to keep the results")
    options = parser.parse_args()
    if options.seeds < 1 or options.seeds % 2 == 0:
        raise InputError(f"--seeds: expected an odd number, to have a median; got {options.seeds}.")
    sampling = config.load(paths.PARAMS, "train_bayesmf", Sampling)
    damping = config.load(paths.PARAMS, "evaluate", Evaluate).damping
    changes = {"n_factors": options.factors} if options.factors else {}
    files: dict[str, Path] = {}
    reasons: dict[str, str] = {}
    chosen = choose(options.names)
    for dataset in dict.fromkeys(row.dataset for row in chosen):
        try:
            files[dataset] = locate(dataset, reasons)
        except InputError as error:
            say(f"{dataset} is left out: {error}")
    rows = [row for row in chosen if row.dataset in files]
    jobs: dict[str, list[Future[Chain]]] = {}
    results = []
    with ProcessPoolExecutor(options.processes, multiprocessing.get_context("spawn")) as pool:
        for row in rows:
            seeds, path = range(1, options.seeds + 1), files[row.dataset]
            jobs[row.name] = [pool.submit(run, row.name, path, changes, seed) for seed in seeds]
        for row in rows:
            chains = [job.result() for job in jobs.pop(row.name)]
            results.append(summarize(row, files[row.dataset], chains, damping))
            say(f"{row.name}: {', '.join(f'{chain.rmse:.4f}' for chain in chains)}")
    n_factors = options.factors or sampling.model["n_factors"]
    title = f"bayesmf, {n_factors} factors, {options.seeds} sampler seeds"
    title += settings_commit()
    console = Console(width=160)
    if results:
        console.print(results_table(results, title))
        console.print(published_table(rows))
    if options.json:
        io.write_json(options.json, results)


if __name__ == "__main__":
    main()
