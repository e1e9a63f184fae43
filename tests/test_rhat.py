"""R-hat tells chains that agree from chains that do not."""

import numpy as np

from benchmarks.rhat import rhat


def test_rhat_is_1_for_chains_that_agree_and_more_for_those_that_do_not() -> None:
    draw = np.random.default_rng(0)
    alike = draw.normal(size=(2, 400, 200)).astype(np.float32)
    assert np.abs(rhat(alike) - 1).max() < 0.02
    factor = np.ones((2, 1, 1), np.float32)
    factor[1] = 3
    for apart in (
        alike + factor / 2,  # another place
        alike * factor,  # another spread
        alike + np.linspace(0, 2, 400, dtype=np.float32)[:, None],  # both still on their way
    ):
        assert rhat(apart).min() > 1.05
    np.testing.assert_allclose(rhat(np.exp(alike)), rhat(alike), atol=0.01)  # ranks alone count
