"""Print the leaderboard and where to look next."""

from rich.console import Console
from rich.markup import escape

from cf.core import io, paths
from cf.core.ratings import Provenance
from cf.evaluation import leaderboard
from cf.reporting.tables import leaderboard_table

NEXT = f"""\
all on one page    {paths.REPORT}: open it in a browser
figures            {paths.FIGURES}/*.png
use the model      make demo; or . .venv/bin/activate && cf rate mine.csv
runs in MLflow     make ui
change something   edit params.yaml, then make repro; or in one go:
                   dvc exp run -S train_dotbias.model.n_factors=100
compare            dvc exp show, dvc metrics diff, dvc params diff
dvc itself         . .venv/bin/activate"""


def main() -> None:
    """Print what `make repro` made."""
    board = io.read_csv(paths.LEADERBOARD, leaderboard.DTYPES)
    facts = io.read_dataclass(paths.SPLIT_PROVENANCE, Provenance)
    console = Console(highlight=False)
    console.print(leaderboard_table(board, facts.unit))
    if facts.dataset != facts.requested:
        names = f"{escape(facts.dataset)}, not {escape(facts.requested)}"
        console.print(
            f"[bold red]{names}[/]: that could not be reached when it was asked for. `dvc repro -f "
            "ingest` tries again."
        )
    console.print(NEXT)
