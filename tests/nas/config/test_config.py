from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.config import dump, kinds, parse, plain_yaml
from nas.config.kinds import Kind
from nas.config.settings import Experiment
from nas.errors import InputError
from nas.sweep.sweep_file import is_sweep_file
from tests.nas.small_runs import Command, small, write

FOLDER = Path(__file__).parents[3] / "experiments"
EXPERIMENTS = sorted(path for path in FOLDER.glob("*.yaml") if not is_sweep_file(path))


def again(experiment: Experiment) -> Experiment:
    return parse.experiment(plain_yaml.parse(dump.to_yaml(experiment)), experiment.plugins)


names = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,8}\Z")
seconds = st.floats(1e-9, 1e4).map(lambda value: f"{value!r} s")
sections = st.fixed_dictionaries(
    {
        "name": names,
        "seed": st.integers(0, 2**63),
        "budgets": st.lists(
            st.fixed_dictionaries(
                {"name": names, "latency": seconds, "of": st.sampled_from(["worst_case", "expected"])}
            ),
            min_size=1,
            max_size=3,
            unique_by=lambda budget: budget["name"],
        ),
        "supernet": st.fixed_dictionaries(
            {"epochs": st.integers(1, 500), "learning_rate": st.floats(1e-9, 9), "max_time": st.none() | seconds}
        ),
        "splits": st.fixed_dictionaries({"val": st.none() | st.floats(0, 0.9), "cert": st.none() | st.integers(0, 0)}),
        "verify": st.fixed_dictionaries({"tvm": st.booleans(), "block_time": seconds}),
        "calibration": st.fixed_dictionaries({"measurements": st.none() | st.text(st.characters(codec="utf-8"))}),
        "space": st.fixed_dictionaries({"name": st.just("toy"), "width": st.integers(1, 64)}),
    }
)


@settings(max_examples=40, deadline=None)
@given(sections)
def test_what_is_dumped_loads_as_the_same_experiment(changed: dict[str, Any]) -> None:
    experiment = parse.experiment(small(**changed))
    assert again(experiment) == experiment
    assert experiment.name == changed["name"] and experiment.seed == changed["seed"]


def test_a_dump_spells_out_every_default() -> None:
    text = dump.to_yaml(parse.experiment({"name": "x", "data": "digits", "target": {"device": "host", "runner":
                       "onnxruntime"}, "budgets": [{"latency": "8 ms"}]}))  # fmt: skip
    dumped = yaml.safe_load(text)
    assert set(dumped) == {field.name for field in dataclasses.fields(Experiment)}
    assert dumped["space"] == {"name": "mobile", "table": "auto", "stages": None, "max_exits": 3}
    assert dumped["search"]["searcher"] == {
        "name": "nsga2", "population": 64, "crossover": 0.9, "mutation": None, "budgeted_initialisation": True,
    }  # fmt: skip
    assert dumped["supernet"]["epochs"] == 20 and dumped["supernet"]["max_time"] is None
    assert dumped["budgets"] == [
        {"latency": "0.008 s", "of": "worst_case", "name": "worst-8ms", "target": None, "every": None}
    ]
    assert dumped["target"]["batch"] == 1 and dumped["supernet"]["reuse"] is None
    assert dumped["splits"] == {"val": None, "cert": None, "arch": None, "reserve": []}


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_what_an_earlier_release_dumped_is_dumped_still_and_means_the_same(path: Path) -> None:
    """Keys may come between, each with a default that does not change what the file meant."""
    before = (Path(__file__).parent / "dumped" / path.name).read_text()
    experiment = parse.load(path)
    lines = iter(dump.to_yaml(experiment).splitlines())
    assert all(line in lines for line in before.splitlines()), "a line is missing, or in another place"
    assert parse.experiment(plain_yaml.parse(before)) == experiment


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_of_ours_is_sound(path: Path, nas: Command) -> None:
    experiment = parse.load(path)
    assert again(experiment) == experiment
    folder = experiment.data.arguments.get("path")
    if folder is not None and not Path(folder).exists():
        pytest.skip(f"{folder} is not there")
    assert nas("check", str(path)).code == 0


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("seed=7", lambda e: e.seed == 7),
        ("supernet.learning_rate=1e-3", lambda e: e.supernet.learning_rate == 0.001),
        ("winners.epochs=2", lambda e: e.winners.epochs == 2),  # next to other keys
        ("splits.val=0.25", lambda e: e.splits.val == 0.25),  # in a section that is not there
        ("budgets.1.latency=3 ms", lambda e: [b.latency_s for b in e.budgets] == [0.2, 0.003]),
        ("budgets.1={name: other, latency: 1 s}", lambda e: [b.name for b in e.budgets] == ["worst", "other"]),
        ("data=digits", lambda e: e.data.name == "digits"),
        ("search.objectives=[accuracy, params]", lambda e: e.search.objectives == ("accuracy", "params")),
        ("space.stages.0.widths=[8, 16, 24]", lambda e: e.space.arguments["stages"][0].widths == (8, 16, 24)),
        ("name=a=b", None),
        ("seed", None),
        ("=7", None),
        ("supernet.epoch=3", None),
        ("supernet.epochs.x=3", None),
        ("budgets.2.latency=3 ms", None),
        ("budgets.first=3", None),
        ("budgets.-1.latency=3 ms", None),
        ("seed=[1", None),
        ("seed=!!python/name:os.system", None),
    ],
)
def test_single_keys_are_replaced(tmp_path: Path, override: str, read: Any) -> None:
    path = Path(write(tmp_path, small()))
    if read is None:
        with pytest.raises(InputError, match=r"experiment\.yaml: "):
            parse.load(path, (override,))
    else:
        assert read(parse.load(path, (override,)))


def test_later_replacements_win(tmp_path: Path) -> None:
    assert parse.load(Path(write(tmp_path, small())), ("seed=1", "seed=2")).seed == 2


@pytest.mark.parametrize(
    "kind", [kind for kind in vars(kinds).values() if isinstance(kind, Kind)], ids=lambda k: k.name
)
def test_the_arguments_of_every_component_are_those_of_its_signature(kind: Kind) -> None:
    assert kind.known
    for name in kind.known:
        with pytest.raises(InputError, match=rf"p\.no_such_argument: {name} has no key 'no_such_argument'"):
            parse.component({"name": name, "no_such_argument": 1}, kind, "p")


def test_units_reach_the_settings_in_seconds() -> None:
    data = small(budgets=[{"latency": "1.5 ms"}, {"latency": "250us", "of": "expected"}], verify={"block_time": "1 s"})
    experiment = parse.experiment(data)
    assert [budget.latency_s for budget in experiment.budgets] == [0.0015, 0.00025]
    assert [budget.name for budget in experiment.budgets] == ["worst-1.5ms", "expected-250us"]
    assert experiment.verify.block_time_s == 1.0


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 0.001), ("1E5", 1e5), ("-2.5e3", -2500.0), (".5e1", 5.0), ("1e", "1e"), ("e5", "e5"), ("0x10", 16)],
)
def test_numbers_with_exponents_are_numbers(text: str, value: object) -> None:
    assert plain_yaml.parse(f"key: {text}") == {"key": value}


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), max_size=6),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6)
            | st.sampled_from(["1e3", "-1.e5", "null", "on", "1:30", "*a", "&a", "2024-01-01"]),
            lambda inner: st.lists(inner, max_size=3),
            max_leaves=4,
        ),
        max_size=4,
    )
)  # fmt: skip
def test_plain_data_survives_yaml(data: dict[str, Any]) -> None:
    assert plain_yaml.parse(plain_yaml.dump(data)) == data
