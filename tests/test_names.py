"""Names that have to stand in two packages, since neither may import the other, are the same names."""

from __future__ import annotations

from hardware_profiles import profile
from latency_models.features import RUNNER_EFFICIENCY
from nas import testing
from nas.cli import check, exit_codes
from nas.devices import runners
from search_spaces import op, passes


def test_fusions_of_profiles_are_those_of_networks() -> None:
    assert sorted(profile.FUSIONS) == sorted(passes.FUSIONS)


def test_dtypes_of_profiles_have_a_size_in_networks() -> None:
    assert list(op.DTYPE_BYTES) == list(profile.DTYPES)


def test_runners_of_ours_can_be_predicted() -> None:
    assert list(runners.RUNNERS) == list(RUNNER_EFFICIENCY)


def test_all_kinds_with_a_contract_can_be_named_to_check() -> None:
    assert sorted(check.KINDS) == sorted(kind.replace(" ", "_") for kind in testing.KINDS)


def test_exit_codes_differ_and_an_interrupted_process_has_its_own() -> None:
    codes = [exit_codes.OK, exit_codes.MALFORMED, exit_codes.NOT_KEPT, exit_codes.INTERRUPTED]
    assert codes == [0, 2, 3, 4]
