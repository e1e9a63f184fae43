"""RMSEs that others publish on the same rows, and whether they can be trusted."""

from typing import Literal, NamedTuple


class Figure(NamedTuple):
    """A published RMSE.

    Attributes:
        rmse: with the decimals that it is published with.
        year: of the source.
        trusted: yes, if paper and code choose nothing by the test rows; no, or unknown.
        why: the reason, in a few words.
    """

    rmse: str
    system: str
    source: str
    year: int
    trusted: Literal["yes", "no", "unknown"]
    why: str


MYFM = "myFM's author, Papers with Code"
MYFM_EXAMPLE = "tohtsky/myFM, examples/ml-100k-extended.ipynb"
IGMC = "Zhang and Chen, ICLR"
GLOCAL = "Han et al., CIKM"
IMC_GAE = "Shen et al., CIKM"
MG_GAT = "Leng et al., preprint"
MONTI = "Monti et al., NeurIPS"
RENDLE = "Rendle, Zhang and Koren, arXiv 1905.01395"

ALL_SWEEPS = "averages a set number of sweeps"
LAST_EPOCH = "a set number of epochs, the last one counts"
BEST_ON_TEST = "its code reports the epoch that is best on the test rows"
BY_VALIDATION = "its code stops by a part of train"
CODE_UNSEEN = "its code was not looked at"
TUNED = "tuned on a part of train; means over random splits"

FIGURES = {
    "ml-100k-u1": (
        Figure("0.8808", "myFM, ordered probit, all features", MYFM, 2020, "yes", ALL_SWEEPS),
        Figure("0.8833", "myFM, regression, all features", MYFM, 2020, "yes", ALL_SWEEPS),
        Figure("0.8889", "GLocal-K", GLOCAL, 2021, "no", BEST_ON_TEST),
        Figure("0.890", "MG-GAT, features", MG_GAT, 2020, "unknown", CODE_UNSEEN),
        Figure("0.8967", "IMC-GAE", IMC_GAE, 2021, "yes", BY_VALIDATION),
        Figure("0.905", "IGMC", IGMC, 2020, "yes", LAST_EPOCH),
        Figure("0.905", "GC-MC, features", "Berg et al., arXiv", 2017, "unknown", CODE_UNSEEN),
        Figure("0.9174", "GRAEM, features", "Strahl et al., AAAI", 2020, "unknown", CODE_UNSEEN),
        Figure("0.920", "F-EAE", "Hartford et al., ICML", 2018, "unknown", CODE_UNSEEN),
        Figure("0.929", "sRGCNN, features", MONTI, 2017, "unknown", CODE_UNSEEN),
    ),
    "ml-100k-u3": (
        Figure("0.8806", "myFM, regression, all features", MYFM_EXAMPLE, 2020, "yes", ALL_SWEEPS),
    ),
    "douban": (
        Figure("0.7208", "GLocal-K", GLOCAL, 2021, "no", BEST_ON_TEST),
        Figure("0.721", "IGMC", IGMC, 2020, "yes", LAST_EPOCH),
        Figure("0.7211", "IMC-GAE", IMC_GAE, 2021, "yes", BY_VALIDATION),
        Figure("0.727", "MG-GAT, graph of users", MG_GAT, 2020, "unknown", CODE_UNSEEN),
    ),
    "flixster": (
        Figure("0.872", "IGMC", IGMC, 2020, "yes", LAST_EPOCH),
        Figure("0.876", "MG-GAT, graphs of users and items", MG_GAT, 2020, "unknown", CODE_UNSEEN),
        Figure("0.8838", "IMC-GAE", IMC_GAE, 2021, "yes", BY_VALIDATION),
    ),
    "yahoo_music": (
        Figure("18.70", "IMC-GAE", IMC_GAE, 2021, "yes", BY_VALIDATION),
        Figure("18.9", "MG-GAT, graph of items", MG_GAT, 2020, "unknown", CODE_UNSEEN),
        Figure("19.1", "IGMC", IGMC, 2020, "yes", LAST_EPOCH),
    ),
    "ml-1m-42": (Figure("0.8140", "myFM, days and implicit", MYFM, 2020, "yes", ALL_SWEEPS),),
    "ml-1m": (
        Figure("0.8227", "GLocal-K", GLOCAL, 2021, "no", BEST_ON_TEST),
        Figure("0.824", "SparseFC", "Muller et al., ICML", 2018, "yes", LAST_EPOCH),
        Figure("0.829", "IMC-GAE", IMC_GAE, 2021, "yes", BY_VALIDATION),
        Figure("0.857", "IGMC", IGMC, 2020, "yes", LAST_EPOCH),
    ),
    "ml-10m": (
        Figure("0.7485", "Bayesian timeSVD++ flipped", RENDLE, 2019, "yes", TUNED),
        Figure("0.7633", "Bayesian matrix factorization", RENDLE, 2019, "yes", TUNED),
        Figure("0.7720", "matrix factorization by SGD", RENDLE, 2019, "yes", TUNED),
    ),
}
"""By row or data set, the best first. Of ml-20m, ml-25m and ml-32m none is known."""


def best(figures: tuple[Figure, ...]) -> Figure | None:
    """The lowest RMSE that can be trusted."""
    return min(
        (figure for figure in figures if figure.trusted == "yes"),
        key=lambda figure: float(figure.rmse),
        default=None,
    )
