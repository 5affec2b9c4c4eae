"""What every latency model promises; a law takes what makes one from (profile, target), such as the class itself.

Each law is tried on a model as it is built, and on one that ten invented measurements were added to.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from latency_models.additive import Additive
from latency_models.base import ErrorBar, LooksUp, Prediction
from latency_models.errors import UnpricedOperator
from nas.testing import latency_storage
from nas.testing.latency_cases import FITTED, SLOWER, Make, fitted, measured, states
from nas.testing.laws import BrokenLaw, laws, require
from nas.testing.small import TARGET, genomes, networks, profile, space
from search_spaces.ir import Builder
from search_spaces.operators import OPERATORS, Operator

_MEMBERS: Final = ("target", "error", "predict", "fit", "save", "load", "additive")


def it_has_what_a_run_uses(make: Make) -> None:
    """A model has all that a run uses: target, error, predict, fit, save, load, additive"""
    made: Any = make
    while isinstance(made, functools.partial):
        made = made.func
    require(isinstance(made, type), f"{made!r} is no class", "name a class, so that a run can call its `load`")
    for when, model in states(make):
        missing = [name for name in _MEMBERS if not hasattr(model, name)]
        require(
            not missing,
            f"{when} it has no `{'`, no `'.join(missing)}`",
            "`latency_models.base.LatencyModel` says what each is",
        )
        require(type(model) is made, f"{when} it is a {type(model).__name__}, not a {made.__name__}", "keep the class")
        require(model.target == TARGET, f"{when} its target is {model.target}", f"it was built for {TARGET}")


def it_says_its_error(make: Make) -> None:
    """`error` is a relative error, and how many networks it is known from, which a fit adds to"""
    known = make(profile(), TARGET).error.networks
    for (when, model), count in zip(states(make), (known, known + FITTED), strict=True):
        error: Any = model.error
        require(isinstance(error, ErrorBar), f"{when} `error` is {error!r}", "return an ErrorBar(relative, networks)")
        require(
            np.isfinite(error.relative) and error.relative >= 0,
            f"{when} the relative error is {error.relative}",
            "give a finite number, such as the root mean square over networks left out of the fit",
        )
        require(error.networks == count, f"{when} to {count} networks it is {error}", "count what was measured")


def seconds_are_positive(make: Make) -> None:
    """Every exit that a network has takes positive, finite seconds, and later ones more"""
    wanted = [len(network.exits) for network in networks()]
    for when, model in states(make):
        prediction: Any = model.predict(networks())
        require(isinstance(prediction, Prediction), f"{when} predict returned {prediction!r}", "return a Prediction")
        found = prediction.exits.tolist()
        require(
            found == wanted,
            f"{when} networks with {wanted} exits have seconds for {found}",
            "give `segment_s` [networks, most exits], NaN where a network has fewer",
        )
        there = np.isfinite(prediction.segment_s)
        require(
            (prediction.segment_s[there] > 0).all() and np.isfinite(prediction.total_s).all(),
            f"{when} a segment takes {prediction.segment_s[there].min()} s",
            "nothing costs nothing: every segment is at least a call",
        )
        steps = np.diff(prediction.cumulative_s(), axis=1)
        require((steps[np.isfinite(steps)] > 0).all(), f"{when} a later exit takes less", "segments are positive")


def errors_are_covariances(make: Make) -> None:
    """Covariances are symmetric and positive semidefinite, and no prediction is certain"""
    for when, model in states(make):
        prediction = model.predict(networks())
        covariance = prediction.covariance
        shape = (*prediction.segment_s.shape, prediction.segment_s.shape[1])
        require(covariance.shape == shape, f"{when} the covariance has shape {covariance.shape}", f"it is {shape}")
        require(
            np.array_equal(covariance, covariance.transpose(0, 2, 1)),
            f"{when} it is not symmetric",
            "add its transpose",
        )
        eigenvalues = np.linalg.eigvalsh(covariance)
        require(
            (eigenvalues >= -1e-9 * eigenvalues.max(axis=1, keepdims=True)).all(),
            f"{when} an eigenvalue of a covariance is {eigenvalues.min()}",
            "give the joint covariance of the segments",
        )
        require(
            np.isfinite(prediction.total_std_s).all() and (prediction.total_std_s > 0).all(),
            f"{when} the standard deviation of a total is {prediction.total_std_s.min()} s",
            "say how far off a prediction may be",
        )


def intervals_hold_the_prediction(make: Make) -> None:
    """Quantiles widen with their level around the prediction, and the probability to be within them is that level"""
    for when, model in states(make):
        prediction = model.predict(networks())
        low, middle, high, higher = (prediction.quantile_s(q) for q in (0.05, 0.5, 0.95, 0.99))
        require(
            (low >= 0).all() and (low < middle).all() and (middle < high).all() and (high < higher).all(),
            f"{when} the quantiles of a total are not in order",
            "give finite errors above 0",
        )
        require(np.allclose(middle, prediction.total_s, rtol=1e-9), f"{when} the median is another", "keep it")
        within = prediction.probability_within(float(high[0]))[0]
        require(abs(within - 0.95) < 1e-6, f"{when} the 95 % quantile is kept with {within}", "keep Prediction's")


def networks_are_predicted_alone(make: Make) -> None:
    """A batch of networks is predicted like each alone, and no networks are no error"""
    for when, model in states(make):
        together = model.predict(networks())
        for row, network in enumerate(networks()):
            alone, count = model.predict([network]), len(network.exits)
            require(
                np.allclose(together.segment_s[row, :count], alone.segment_s[0], rtol=1e-12)
                and np.allclose(together.covariance[row, :count, :count], alone.covariance[0], rtol=1e-9, atol=0),
                f"{when} network {row} of a batch has other seconds than alone",
                "let no prediction depend on its neighbours",
            )
        shape = model.predict([]).total_s.shape
        require(shape == (0,), f"{when} the totals of no networks have shape {shape}", "return an empty Prediction")


def unknown_operators_are_refused(make: Make) -> None:
    """An operator that the model cannot price raises UnpricedOperator with its name, kind and target"""
    for when, model in states(make):
        try:
            with _new_kind("fourier"):
                b = Builder()
                model.predict([b.network(b("fourier", "stem.fourier", b.input("image", (3, 8, 8))))])
        except UnpricedOperator as error:
            told = ("stem.fourier", "fourier", TARGET.key)
            require(all(text in str(error) for text in told), f"{when} it says {str(error)!r}", f"name {told}")
        else:
            raise BrokenLaw(
                f"{when} a network with an operator of kind 'fourier' has a price; raise UnpricedOperator for kinds "
                "that the model does not know, since nothing costs zero by omission"
            )


def fitting_leaves_the_model(make: Make) -> None:
    """`fit` returns another model and leaves the one that it was asked of"""
    for when, model in states(make):
        before, cumulative = model.predict(networks()).segment_s, measured(model)
        model.fit(networks()[FITTED:], cumulative[FITTED:])
        after = model.predict(networks()).segment_s
        require(np.array_equal(before, after, equal_nan=True), f"{when} `fit` changes the model", "return a new one")


def exits_need_not_be_measured(make: Make) -> None:
    """Exits that were not measured, NaN among the seconds, do no harm"""
    model = make(profile(), TARGET)
    cumulative = measured(model)
    ends = np.array([len(network.exits) - 1 for network in networks()])
    cumulative[np.arange(cumulative.shape[1]) < ends[:, None]] = np.nan
    total_s = model.fit(networks()[:FITTED], cumulative[:FITTED]).predict(networks()).total_s
    require(
        np.isfinite(total_s).all() and (total_s > 0).all(),
        f"then totals are {total_s.tolist()}",
        "leave NaN out",
    )


def measuring_helps(make: Make) -> None:
    """Ten measurements bring networks that were not measured nearer to what they take"""
    bare = make(profile(), TARGET)
    truth = SLOWER * bare.predict(networks()).total_s[FITTED:]
    after = fitted(bare).predict(networks()).total_s[FITTED:]
    error = float(np.abs(after / truth - 1).mean())
    require(
        error < 0.5 * (1 - 1 / SLOWER),
        f"where every network takes {SLOWER:.0f} times as long, the error after ten of them is {error:.0%}",
        "learn at least one common factor",
    )


def what_is_looked_up_is_the_model(make: Make) -> None:
    """Where a model knows a space by its genomes, it says of them what `predict` does"""
    for when, model in states(make):
        found = model.by_genome(space()) if isinstance(model, LooksUp) else None
        if found is None:
            continue
        require(
            np.allclose(found.latency_s(genomes()), model.predict(networks()).total_s, rtol=1e-9),
            f"{when} a genome takes other seconds than its network",
            "look both up in the same rows",
        )


def tables_are_the_model(make: Make) -> None:
    """Tables over a space give what `predict` gives; None says that seconds do not add up"""
    for when, model in states(make):
        tables: Any = model.additive(space())
        if tables is None:
            continue
        require(
            isinstance(tables, Additive),
            f"{when} additive returned {type(tables).__name__}",
            "return what `latency_models.additive.compile` does, or None",
        )
        require(tables.target == TARGET, f"{when} the tables are of {tables.target}", f"they are of {TARGET}")
        prediction = model.predict(networks())
        require(
            np.allclose(tables.latency_s(genomes()), prediction.total_s, rtol=1e-9),
            f"{when} tables give {tables.latency_s(genomes())[0]} s where predict gives {prediction.total_s[0]} s",
            "price each slot as predict does, with call and decision",
        )
        for row, own in zip(tables.cumulative_s(genomes()), prediction.cumulative_s(), strict=True):
            there = row[np.isfinite(row)]
            require(
                np.allclose(there, own[: len(there)], rtol=1e-9) and len(there) == np.isfinite(own).sum(),
                f"{when} tables reach an early exit in other seconds",
                "an exit's entry holds its head, its call and its decision",
            )


@contextmanager
def _new_kind(kind: str) -> Iterator[None]:
    """Operators have one kind more, which nothing but its shape is known of."""
    OPERATORS[kind] = Operator(1, lambda inputs, attrs: inputs[0])
    try:
        yield
    finally:
        del OPERATORS[kind]


def subject(make: Make) -> tuple[Make, str]:
    """What laws take: what makes a model, tried once."""
    make(profile(), TARGET)
    return make, ""


LAWS: Final = laws(
    it_has_what_a_run_uses,
    it_says_its_error,
    seconds_are_positive,
    errors_are_covariances,
    intervals_hold_the_prediction,
    networks_are_predicted_alone,
    unknown_operators_are_refused,
    fitting_leaves_the_model,
    exits_need_not_be_measured,
    measuring_helps,
    tables_are_the_model,
    what_is_looked_up_is_the_model,
    latency_storage.a_stored_model_predicts_the_same,
    latency_storage.a_stored_model_loads_in_another_process,
)
