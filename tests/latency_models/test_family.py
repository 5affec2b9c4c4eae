"""The prior from same-family devices on devices whose seconds follow a known law."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hardware_profiles import DeviceProfile, Quantity, Target, load
from latency_models.base import Floats
from latency_models.calibration import Calibration, correct, features_of, uncalibrated
from latency_models.family import family_prior, with_family_prior
from latency_models.features import CALLS, DECISIONS, FEATURES, KERNELS, UNHIDDEN
from latency_models.flops import Flops
from latency_models.linear import fit, predict
from latency_models.roofline import Roofline
from search_spaces.ir import Network
from search_spaces.mobile import mobile
from search_spaces.passes import OP_CLASSES
from search_spaces.slots import SearchSpace, random_genomes

COLUMNS = FEATURES["roofline"].columns
#: What the devices of the family have in common, beside what their profiles say.
FACTORS = {
    "conv": 2.5,
    "pointwise": 1.2,
    "depthwise": 6.0,
    "dense": 3.0,
    "pool": 4.0,
    "elementwise": 2.0,
    UNHIDDEN: 0.4,
}
FAMILY = {**FACTORS, KERNELS: 4e-6, f"{KERNELS}.depthwise": 3e-6, CALLS: 40e-6, DECISIONS: 50e-6}
#: Another family: what is dear there is cheap here.
STRANGERS = {**FACTORS, "conv": 0.5, "pointwise": 5.0, "depthwise": 0.8, KERNELS: 1e-6, CALLS: 5e-6, DECISIONS: 5e-6}
#: Without exits, so that every network is one equation.
SPACES = [mobile((3, 32, 32), 10, max_exits=0), mobile((1, 28, 28), 10, max_exits=0)]


def networks(space: SearchSpace, count: int, seed: int) -> list[Network]:
    return [space.decode(genome) for genome in random_genomes(space, count, np.random.default_rng(seed))]


HELD_OUT = networks(SPACES[0], 40, 99)


def device(name: str, speed: float) -> DeviceProfile:
    """A device that is so many times faster than the Raspberry Pi 4, and says so."""
    base = load("rpi4b")
    peaks = {dtype: replace(peak, value=speed * peak.value) for dtype, peak in base.peak_flops_per_s.items()}
    bandwidth = Quantity(speed * base.bandwidth_bytes_per_s.value, "estimate", "estimate")
    return replace(base, id=name, peak_flops_per_s=peaks, core_flops_per_s=None, bandwidth_bytes_per_s=bandwidth)


def bare(profile: DeviceProfile) -> Calibration:
    return uncalibrated(FEATURES["roofline"], profile, Target(profile.id, "onnxruntime", threads=4))


def law(common: dict[str, float], seed: int, spread: float = 0.1, slower: float = 1.0) -> Floats:
    """The coefficients of one device: those of its kind, each a little different, and all of them slower."""
    rng = np.random.default_rng(seed)
    own = np.array([common.get(name, 1.0 if name in OP_CLASSES else 0.0) for name in COLUMNS])
    return np.asarray(slower * own * np.exp(spread * rng.standard_normal(len(own))))


def measured(calibration: Calibration, asked: list[Network], coefficients: Floats, seed: int) -> Calibration:
    """The calibration after readings of networks, with an error of 2 %."""
    rng = np.random.default_rng(seed)
    rows = [np.cumsum(features_of(calibration, network) @ coefficients) for network in asked]
    seconds = np.full((len(rows), max(map(len, rows))), np.nan)
    for row, values in zip(seconds, rows, strict=True):
        row[: len(values)] = values * (1 + 0.02 * rng.standard_normal())
    return correct(calibration, asked, seconds)


def error(calibration: Calibration, coefficients: Floats) -> float:
    """Mean relative error of a calibration of TARGET on networks held out."""
    truth = np.array([(rows @ coefficients).sum() for rows in MATRIX])
    return float(np.abs(predict(MATRIX, calibration.fit).total_s / truth - 1).mean())


def relative(common: dict[str, float], seed: int, count: int = 15) -> Calibration:
    """A device of that kind, measured with networks of another space."""
    truth = law(common, 1000 + seed, slower=1.4)
    return measured(bare(device(f"relative{seed}", 0.6)), networks(SPACES[1], count, 50 + seed), truth, seed)


TARGET = bare(device("new", 1.0))
OWN = FEATURES["roofline"].prior(TARGET.machine)
MATRIX = [features_of(TARGET, network) for network in HELD_OUT]


def errors(same_family: list[list[Calibration]], count: int) -> tuple[Floats, Floats]:
    """Errors on networks held out after so many readings, without and with the same-family devices of each seed."""
    found = []
    for seed, family in enumerate(same_family):
        truth, asked = law(FAMILY, seed), networks(SPACES[0], count, seed)
        both = (measured(one, asked, truth, seed) for one in (TARGET, with_family_prior(TARGET, family)))
        found.append([error(calibration, truth) for calibration in both])
    without, within = np.array(found).T
    return without, within


@pytest.mark.parametrize("count", [1, 3])
def test_same_family_devices_help_where_few_networks_are_measured(count: int) -> None:
    for family in ([[relative(FAMILY, seed)] for seed in range(5)], [[relative(FAMILY, 7), relative(FAMILY, 8)]] * 5):
        without, within = errors(family, count)
        assert (within < without).mean() >= 0.8 and within.mean() < 0.5 * without.mean()


def test_a_stranger_taken_for_a_relative_does_little_harm_to_twelve_networks() -> None:
    without, within = errors([[relative(STRANGERS, seed)] for seed in range(6)], 12)
    assert within.mean() < 1.4 * without.mean() and within.max() < 0.04


def test_two_same_family_devices_outvote_a_stranger() -> None:
    family = [relative(FAMILY, seed) for seed in (20, 21)]
    good, mixed = (family_prior(of, TARGET.machine) for of in (family, [*family, relative(STRANGERS, 22)]))
    bad = family_prior([relative(STRANGERS, 22)], TARGET.machine)
    for name in ("conv", "pointwise", "depthwise"):
        k = COLUMNS.index(name)
        near, far = (abs(np.log(prior.mean[k] / good.mean[k])) for prior in (mixed, bad))
        assert near < 0.5 * far, name


def test_without_same_family_devices_nothing_changes() -> None:
    empty = bare(device("unmeasured", 2.0))
    assert with_family_prior(TARGET, []) is TARGET and with_family_prior(TARGET, [empty]) is TARGET
    asked, truth = networks(SPACES[0], 8, 0), law(FAMILY, 0)
    fitted = measured(TARGET, asked, truth, 0)
    assert fitted.prior is None and fitted.same_family == ()
    np.testing.assert_array_equal(fitted.fit.coefficients, fit(fitted.rows, OWN).coefficients)
    file = io.BytesIO()
    fitted.save(file)
    file.seek(0)
    with np.load(file) as data:
        assert not [name for name in data.files if "prior" in name] and "relatives" not in json.loads(
            str(data["header"])
        )


def test_the_prior_is_what_same_family_devices_have_in_common() -> None:
    """Whatever their common slowness and their profiles, the factors relative to each other are found again."""
    family = [measured(bare(device(f"r{k}", 0.5 + k)), networks(SPACES[1], 60, k), law(FAMILY, k, 0.0, 1.0 + k), k)
              for k in range(3)]  # fmt: skip
    prior = family_prior(family, TARGET.machine)
    place = [COLUMNS.index(name) for name in ("pointwise", "depthwise")]
    low, high = prior.mean[place]
    assert high / low == pytest.approx(FACTORS["depthwise"] / FACTORS["pointwise"], rel=0.2)
    assert (prior.std[place] < 0.5 * prior.mean[place]).all()
    np.testing.assert_array_equal(prior.factor, OWN.factor)


def test_what_no_relative_was_told_stays_as_uncertain_as_it_was() -> None:
    prior = family_prior([relative(FAMILY, 0), relative(FAMILY, 1)], TARGET.machine)
    matrix = np.concatenate(MATRIX)
    unseen = [COLUMNS.index(name) for name in OP_CLASSES if not matrix[:, COLUMNS.index(name)].any()]
    assert unseen
    np.testing.assert_allclose(prior.std[unseen], prior.mean[unseen], rtol=0.05)
    seen = COLUMNS.index("pointwise")
    assert prior.std[seen] < 0.5 * prior.mean[seen]


def test_same_family_devices_that_differ_make_a_wide_prior() -> None:
    k, others = COLUMNS.index("depthwise"), [{**FAMILY, "depthwise": factor} for factor in (1.0, 6.0, 36.0)]
    alike = family_prior([relative(FAMILY, seed) for seed in range(3)], TARGET.machine)
    apart = family_prior([relative(kind, 3 + seed) for seed, kind in enumerate(others)], TARGET.machine)
    assert apart.std[k] / apart.mean[k] > 2 * alike.std[k] / alike.mean[k]


def test_a_relative_says_what_it_measured_and_not_what_it_was_told() -> None:
    first, stranger = relative(FAMILY, 0, count=2), relative(STRANGERS, 1)
    echo = with_family_prior(first, [stranger])
    assert not np.allclose(echo.fit.coefficients, first.fit.coefficients, rtol=0.01)
    for one, other in zip(*(vars(family_prior([of], TARGET.machine)).values() for of in (first, echo)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_it_is_stored_with_the_names_of_same_family_devices_and_used_in_every_fit() -> None:
    family = [relative(FAMILY, seed) for seed in range(2)]
    believed = with_family_prior(TARGET, family)
    assert believed.same_family == tuple(f"relative{k}-onnxruntime-t4-b1-float32" for k in range(2))
    file = io.BytesIO()
    believed.save(file)
    file.seek(0)
    again = Calibration.load(file)
    assert again.same_family == believed.same_family
    for one, other in zip(vars(again.prior).values(), vars(believed.prior).values(), strict=True):
        np.testing.assert_array_equal(one, other)
    asked, truth = networks(SPACES[0], 3, 0), law(FAMILY, 0)
    np.testing.assert_array_equal(
        measured(again, asked, truth, 0).fit.coefficients, measured(believed, asked, truth, 0).fit.coefficients
    )
    model = Roofline(None, again.target, again).fit(asked, [[1e-3], [2e-3], [3e-3]])
    assert model.calibration.same_family == believed.same_family


def test_a_column_that_a_file_lacks_has_the_model_s_own_prior() -> None:
    file = io.BytesIO()
    with_family_prior(TARGET, [relative(FAMILY, 0)]).save(file)
    file.seek(0)
    with np.load(file) as data:
        arrays = {name: data[name] for name in data.files}
    header = json.loads(str(arrays["header"]))
    gone, kept = COLUMNS.index(UNHIDDEN), [k for k, name in enumerate(COLUMNS) if name != UNHIDDEN]
    header["columns"] = [COLUMNS[k] for k in kept]
    for name in ("coefficients", "features", "prior_mean", "prior_std"):
        arrays[name] = arrays[name][..., kept]
    arrays |= {"header": np.array(json.dumps(header)), "covariance": arrays["covariance"][np.ix_(kept, kept)]}
    older = io.BytesIO()
    np.savez(older, **arrays)
    older.seek(0)
    prior = Calibration.load(older).prior
    assert prior is not None
    assert (prior.mean[gone], prior.std[gone]) == (OWN.mean[gone], OWN.std[gone])
    np.testing.assert_array_equal(prior.mean[kept], arrays["prior_mean"])


@pytest.mark.parametrize("schema", ["schema1", "schema2"])
def test_a_calibration_of_an_older_release_can_be_a_relative(schema: str) -> None:
    old = Calibration.load(Path(__file__).parent / "fixtures" / f"{schema}-roofline.npz")
    prior = family_prior([old], TARGET.machine)
    assert np.isfinite(prior.mean).all() and (prior.mean[OWN.mean > 0] > 0).all() and (prior.std > 0).all()


def test_a_profile_that_says_no_overheads_has_same_family_devices_too() -> None:
    base = device("instant", 1.0)
    instant = bare(replace(base, launch_overhead_s=replace(base.launch_overhead_s, value=0.0)))
    prior = family_prior([measured(instant, networks(SPACES[0], 5, 0), law(FAMILY, 0), 0)], instant.machine)
    assert np.isfinite(prior.mean).all() and (prior.std > 0).all()


def test_another_model_s_calibration_is_refused() -> None:
    flops = Flops(device("relative0", 1.0), Target("relative0", "onnxruntime")).calibration
    with pytest.raises(
        ValueError, match="relative0-onnxruntime-t1-b1-float32 is of latency model 'flops', not of 'roof"
    ):
        with_family_prior(TARGET, [flops])
