"""Regularised latent search: the article's method (Eq. 5), and its ablations by lambdas of 0.

w^ = argmin over w in W+ of mean |y - D(G_s(w))| - lambda_w P_w + lambda_c cross

The first term is that of Laplace noise (section 3.1.3). ``likelihood`` puts that of Gaussian noise
or of a camera in its place (rls/search/objective.py), scaled so that the lambdas keep theirs.
The authors' code adds lambda_n times a penalty on the norm of F(w); the article has none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from rls.io.names import OK
from rls.runtime.command import need_at_least, option
from rls.runtime.errors import InputError
from rls.search.descent import exactly, loss_columns, worst
from rls.search.equation5 import ObjectiveSettings, given_of, objective_of, start_penalty
from rls.search.lanes import by_lanes, check_goal, search_in_lanes
from rls.search.optimisers import Variables
from rls.search.problem import BatchProgress, Problem, Reconstruction, need
from rls.search.schedule import SCHEDULES
from rls.search.start_settings import MEAN, WHITENED
from rls.search.starts import start_of
from rls.search.steps import Given, Losses


@dataclass(frozen=True, kw_only=True)
class Settings(ObjectiveSettings):
    """Course of the search (section 4.1)."""

    steps: int = option("Iterations of Adam; 0 evaluates the start.", least=0)
    learning_rate: float = option("Peak learning rate.", above=0)
    learning_rate_unit: str = option(
        "absolute, or relative to the mean sd of w over its dimensions.",
        choices=("absolute", "relative"),
    )
    schedule: str = option("Course of the learning rate.", choices=tuple(SCHEDULES))
    stop_fidelity: float | None = option(
        "Mean absolute difference of y and D(x), on the scale of [0, 1], at which an image stops "
        "and leaves its place in the batch to the next one; the search is in float32 throughout. "
        "Without it every image takes all steps.",
        default=None,
        above=0,
    )
    n_solutions: int = option(
        "Searches of each image in super_resolve, from different starts. The row's image is that "
        "of least loss; its features are means over all of them.",
        default=1,
        least=1,
    )

    def __post_init__(self) -> None:
        need_at_least(self, steps=0, n_solutions=1)
        self.check_start()
        self.check_likelihood()
        check_goal(self.stop_fidelity)
        if self.coordinates == WHITENED and self.learning_rate_unit == "relative":
            raise InputError(
                "Found learning_rate_unit relative with whitened coordinates, whose unit is the "
                "standard deviation already. Set learning_rate_unit: absolute."
            )


def super_resolve(problem: Problem, settings: Settings, progress: BatchProgress) -> Reconstruction:
    """Return G_s(w^) for a batch, whose searches start where the settings say.

    Columns, at the returned iterate in float32: ``loss_total``, ``loss_fidelity``, ``log_prior``
    (nats, NaN without a flow), ``loss_cross``, ``loss_norm`` (where lambda_n is not 0),
    ``loss_likelihood`` (where it is not laplace; ``loss_fidelity`` is mean |y - D(x)| with any),
    ``start_distance`` (where the start is not the mean style: root mean square of the whitened
    coordinates between the start and w^), ``search_status``, and ``steps_taken`` (with
    ``stop_fidelity``).

    Raises:
        InputError: Generator or styles are missing, the flow where lambda_w or lambda_n is not 0,
            or the encoder where it gives the start.
    """
    generator = need(problem.generator, "generator")
    start = start_of(problem, settings.start, settings.start_spread)[:, None]
    if not settings.steps_w:
        start = start.expand(-1, generator.num_ws, -1)
    found = search_from(start, problem, settings, progress)
    if settings.start == MEAN:
        return found
    assert found.latents is not None  # A search of Eq. 5 always has latents.
    whitening = need(problem.styles, "styles").whitening

    def apart(w: Variables, given: Given) -> Losses:
        return {"apart": start_penalty(whitening, w[0], given["start"][0]).sqrt()}

    lanes = problem.lanes or len(start)
    distance = by_lanes(apart, (found.latents,), {"start": (start,)}, lanes)["apart"]
    columns = {**found.columns, "start_distance": distance.cpu().numpy()}
    return Reconstruction(found.images, found.latents, columns)


def search_from(
    start: Tensor, problem: Problem, settings: Settings, progress: BatchProgress
) -> Reconstruction:
    """Return the reconstruction that a search from ``start``, (n, L or 1, d), finds.

    With one style for each image the first ``steps_w`` steps keep it so (W).
    """
    objective, lanes = objective_of(problem, settings), problem.lanes or len(start)
    given = {**given_of(problem, settings), "start": (start,)}
    layers = need(problem.generator, "generator").num_ws
    courses = [settings.steps_w] * (start.shape[1] == 1) + [settings.steps]

    def variables(x: Variables, given: Given) -> Losses:
        return {"x": objective.variables(x[0])}

    x, status = by_lanes(variables, (start,), given, lanes)["x"], None
    taken = np.zeros(len(start), dtype=np.int64)
    for i, steps in enumerate(courses):
        x = x if i + 1 < len(courses) else x.expand(-1, layers, -1)
        if not steps:
            continue
        found = search_in_lanes(
            (x,),
            objective,
            given=given,
            lanes=lanes,
            stop_fidelity=settings.stop_fidelity,
            steps=steps,
            learning_rate=learning_rate_of(problem, settings),
            schedule=settings.schedule,
            precision=problem.precision,
            progress=progress.part(sum(courses[:i]), sum(courses)),
            searches=problem.searches,
        )
        (x,) = found.variables
        status = found.status if status is None else worst(status, found.status)
        taken += steps if found.steps_taken is None else found.steps_taken

    def result(x: Variables, given: Given) -> Losses:
        w = objective.styles(x[0])
        images = objective.images(w, given, "float32")
        return {"w": w, "images": images, **objective(x, given, "float32")}

    with exactly():
        losses = by_lanes(result, (x,), given, lanes)
    w, images = losses.pop("w"), losses.pop("images")
    columns = loss_columns(losses, "log_prior")
    columns["search_status"] = np.full(len(w), OK, dtype=object) if status is None else status
    if settings.stop_fidelity is not None:
        columns["steps_taken"] = taken
    return Reconstruction(images, w, columns)


def learning_rate_of(problem: Problem, settings: Settings) -> float:
    """Return the peak learning rate in units of the coordinates."""
    if settings.coordinates == WHITENED:
        return settings.learning_rate  # Its coordinates have the standard deviation 1.
    if settings.learning_rate_unit == "relative":
        return settings.learning_rate * float(need(problem.styles, "styles").sd.mean())
    return settings.learning_rate
