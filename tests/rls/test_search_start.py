"""Where a search starts, and that its terms are those of one image at any size of the batch."""

from __future__ import annotations

from dataclasses import replace

import torch

from rls.search.problem import Styles
from tests.rls.search_stand_ins import GaussianPrior, LinearGenerator, make_problem
from tests.rls.test_search_rls import BASE, solve


def problem_of(n: int):
    random = torch.Generator().manual_seed(4)
    styles = Styles(torch.randn(50, 4, generator=random), torch.randn(4, generator=random))
    y = torch.rand(n, 2, 2, 2, generator=random)
    generator, flow = LinearGenerator(3, 4, 2, 4), GaussianPrior(torch.ones(4))
    return make_problem(y, 2, generator=generator, flow=flow, styles=styles), styles


def test_the_search_starts_at_the_mean_style_in_every_layer():
    """The first iterate is evaluated before the first step, so one step returns the start."""
    problem, styles = problem_of(2)
    found = solve(problem, replace(BASE, steps=1))
    assert torch.equal(found.latents, styles.mean.expand(2, 3, 4))


def test_the_weights_of_the_terms_do_not_depend_on_the_size_of_the_batch():
    # Few steps: over many, rounding grows where |r| changes its sign.
    settings = replace(BASE, steps=6, schedule="constant", lambda_w=0.1, lambda_c=0.1)
    whole, _ = problem_of(5)
    alone = replace(whole, y=whole.y[:1], image_ids=whole.image_ids[:1])
    together, single = solve(whole, settings), solve(alone, settings)
    torch.testing.assert_close(together.latents[:1], single.latents, rtol=1e-4, atol=1e-5)
