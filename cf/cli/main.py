"""The program `cf`: every command with its arguments and its help.

A command's work is in the file of its name, which is imported when the command runs: `cf --help`
waits for no library.
"""

import sys
from importlib import import_module
from typing import Annotated, Any

import typer

from cf.core.errors import InputError

app = typer.Typer(
    help="Collaborative filtering as a workflow. Run it in the project's folder.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def run(command: str, *arguments: Any) -> None:
    """Call `main` of a command's file; where the input cannot be used, end in one plain line."""
    try:
        import_module(f"cf.cli.{command}").main(*arguments)
    except InputError as error:
        print(f"cf {command}: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@app.command()
def show() -> None:
    """Print the leaderboard, and where to look next.

    \b
    Example:
      dvc repro && cf show
    """
    run("show")


Column = Annotated[str | None, typer.Option(help="name of the column, or number from 1")]


@app.command()
def inspect(
    file: Annotated[str, typer.Argument(help="a file, a folder, or a pattern in quotes")],
    items: Annotated[str | None, typer.Option(help="a table of items: titles, ...")] = None,
    users: Annotated[str | None, typer.Option(help="a table of users")] = None,
    user: Column = None,
    item: Column = None,
    rating: Column = None,
    time: Column = None,
    write: Annotated[bool, typer.Option("--write", help="into params.yaml")] = False,
) -> None:
    """Say what is in a file of ratings, and how to read it.

    It finds out the format and which column is what, and says why, and which lines cannot be
    read. The section of params.yaml that reads the file is printed, or written there.

    \b
    Examples:
      cf inspect data/own/ratings.csv
      cf inspect data/own/ratings.dat --items data/own/movies.dat
      cf inspect --write "data/own/*.csv.gz" && dvc repro
    """
    names = {"user_id": user, "item_id": item, "rating": rating, "timestamp": time}
    columns = {key: name for key, name in names.items() if name is not None}
    run("inspect", file, write, items, users, columns)


@app.command()
def tune() -> None:
    """Search better values for one model's parameters.

    The section tune of params.yaml names the section to search, the ranges and the number of
    trials. The search sees the training rows alone. Ctrl-C ends it early and prints the best
    values so far.

    \b
    Example:
      dvc repro split && cf tune
    """
    run("tune")


@app.command()
def grid(
    axes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE,...]...", help="two parameters of one section"),
    ] = None,
    jobs: Annotated[int, typer.Option(help="pipelines at a time", min=1)] = 2,
) -> None:
    """Run experiments over two parameters: a heat map of RMSE.

    Every pair of values is an experiment of DVC, in a folder of its own. An earlier grid's
    experiments are replaced.

    \b
    Examples:
      cf grid     (which is the same as the next line)
      cf grid train_dotbias.model.n_factors=10,25,50 \\
          train_dotbias.optimizer.weight_decay=0.00005,0.0001,0.0002
      cf grid --jobs 4 train_embnet.model.n_hidden=5,10 train_embnet.seed=1,2
    """
    run("grid", axes, jobs)


@app.command()
def cv() -> None:
    """Cross-validate all models.

    Every fold with every seed is an experiment of DVC, in a folder of its own. The section cv of
    params.yaml has the number of folds, the seeds and how many pipelines run at a time. The
    table is written to reports/cv.csv.

    \b
    Example:
      cf cv
    """
    run("cv")


@app.command()
def rank() -> None:
    """Evaluate recommended items on a split by time.

    Trains on the older ratings, and looks for each user's latest ones among the items
    recommended. The section rank of params.yaml has the length of the lists.

    \b
    Example:
      cf rank     (its files: dvc exp apply rank-time)
    """
    run("rank")


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="of this machine", min=1, max=65535)] = 5000,
) -> None:
    """Compare all runs in MLflow.

    Serves them on this machine until Ctrl-C; with MLFLOW_TRACKING_URI, opens that server's page.

    \b
    Examples:
      cf ui
      cf ui --port 5001
    """
    run("ui", port)


@app.command()
def sync() -> None:
    """Bring MLflow up to date.

    Every record in runs/ gets its run, with metrics and figures, where it has none yet.

    \b
    Examples:
      git pull && dvc pull && cf sync
      MLFLOW_TRACKING_URI=https://mlflow.example.org cf sync
    """
    run("sync")
