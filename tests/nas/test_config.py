from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nas import config, plain_yaml
from nas.errors import InputError
from nas.searchers import SEARCHERS
from nas.settings import Experiment
from nas.tasks.image_classification import DATASETS
from search_spaces import SPACES
from search_spaces.staged import Stage
from tests.nas.small_runs import Command, small, write

STAGE: dict[str, Any] = {"widths": [8], "depths": [1], "stride": 2, "options": {}}
EXPERIMENTS = sorted((Path(__file__).parents[2] / "experiments").glob("*.yaml"))


def again(experiment: Experiment) -> Experiment:
    return config.experiment(plain_yaml.parse(config.dump(experiment)))


def refusal(data: dict[str, Any]) -> str:
    with pytest.raises(InputError) as caught:
        config.experiment(data)
    return str(caught.value)


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
    experiment = config.experiment(small(**changed))
    assert again(experiment) == experiment
    assert experiment.name == changed["name"] and experiment.seed == changed["seed"]


def test_a_dump_spells_out_every_default() -> None:
    text = config.dump(config.experiment({"name": "x", "data": "digits", "target": {"device": "host", "runner":
                       "onnxruntime"}, "budgets": [{"latency": "8 ms"}]}))  # fmt: skip
    dumped = yaml.safe_load(text)
    assert set(dumped) == {field.name for field in dataclasses.fields(Experiment)}
    assert dumped["space"] == {"name": "mobile", "table": "auto", "stages": None, "max_exits": 3}
    assert dumped["search"]["searcher"] == {
        "name": "nsga2", "population": 64, "crossover": 0.9, "mutation": None, "budgeted_initialisation": True,
    }  # fmt: skip
    assert dumped["supernet"]["epochs"] == 20 and dumped["supernet"]["max_time"] is None
    assert dumped["budgets"] == [{"latency": "0.008 s", "of": "worst_case", "name": "worst-8ms", "target": None}]
    assert dumped["target"]["batch"] == 1 and dumped["splits"] == {"val": None, "cert": None, "arch": None}


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_of_ours_is_sound(path: Path, nas: Command) -> None:
    experiment = config.load(path)
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
            config.load(path, (override,))
    else:
        assert read(config.load(path, (override,)))


def test_later_replacements_win(tmp_path: Path) -> None:
    assert config.load(Path(write(tmp_path, small())), ("seed=1", "seed=2")).seed == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "digit"}, "data.name: there is no data 'digit'; did you mean 'digits'? Known: cifar10,"),
        ({"space": "zzz"}, "space.name: there is no space 'zzz'. Known: "),
        ({"search": {"searcher": "nsga3"}}, "did you mean 'nsga2'?"),
        ({"latency_model": {"name": "rooflin"}}, "did you mean 'roofline'?"),
        ({"suprenet": {"epochs": 3}}, "suprenet: an experiment has no key 'suprenet'; did you mean 'supernet'?"),
        ({"search": {"sercher": "random"}}, "search.sercher: search has no key 'sercher'; did you mean 'searcher'?"),
        ({"search": {"searcher": {"name": "nsga2", "populaton": 3}}}, "did you mean 'population'?"),
        ({"space": {"name": "toy", "input_shape": [3, 8, 8]}}, "space.input_shape: toy has no key"),
        ({"data": {"name": "npz"}}, "data.path is missing; npz needs it"),
        ({"data": {"name": "npz", "path": 3}}, "data.path: input should be a valid string, got 3"),
        ({"data": {"path": "x"}}, "data: expected `name:` and its arguments"),
        ({"supernet": {"epochs": "many"}}, "supernet.epochs: input should be a valid integer, got 'many'"),
        ({"supernet": {"epochs": True}}, "supernet.epochs: input should be a valid integer, got True"),
        ({"supernet": {"epochs": 0}}, "supernet.epochs must be at least 1, got 0"),
        ({"supernet": {"weight_decay": float("nan")}}, "supernet.weight_decay: input should be a finite number"),
        ({"supernet": {"label_smoothing": 1.0}}, "supernet.label_smoothing"),
        ({"supernet": [1]}, "supernet: expected keys and values, got [1]"),
        ({"supernet": {"max_time": 60}}, "supernet.max_time of 60 has no unit; write '60 ms' or '60 s'"),
        ({"search": {"objectives": ["accuracy", "speed"]}}, "search.objectives[1]: input should be 'accuracy',"),
        ({"search": {"objectives": ["params"]}}, "search.objectives must be different and contain accuracy"),
        ({"splits": {"val": 2}}, "splits: val is 2"),
        ({"space": {"name": "mobile", "stages": [STAGE | {"widths": [8, 8]}]}}, "space.stages[0]: a stage's widths"),
        ({"budgets": []}, "budgets must name at least one"),
        ({"budgets": {"latency": "8 ms"}}, "budgets: expected a list such as `- latency: 8 ms`, got {'latency'"),
        ({"budgets": ["8 ms"]}, "budgets[0]: expected keys and values, got '8 ms'"),
        ({"budgets": [{"latency": 8}]}, "budgets[0].latency of 8 has no unit; write '8 ms' or '8 s'"),
        ({"budgets": [{"latency": "8 MiB"}]}, "budgets[0].latency of '8 MiB' has the unit 'MiB'"),
        ({"budgets": [{"latency": "0 ms"}]}, "budgets[0].latency of '0 ms' is impossible"),
        ({"budgets": [{"latency": "8 ms", "of": "mean"}]}, "input should be 'worst_case' or 'expected', got 'mean'"),
        ({"budgets": [{"latency": "8 ms"}, {"latency": "8 ms"}]}, "two budgets have the same name"),
        ({"budgets": [{"latency": "8 ms", "name": "../x"}]}, "budget name '../x' becomes a folder"),
        ({"budgets": [{"latency": "8 ms", "name": ".tmp-x"}]}, "budget name '.tmp-x' becomes a folder"),
        ({"budgets": [{"latency": "8 ms", "target": "host"}]}, "budgets[0].target: expected keys and values, got"),
        ({"budgets": [{"latency": "8 ms", "target": {"device": "rpi4b"}}]}, "budgets[0].target.runner is missing"),
        ({"name": "a/b"}, "the experiment's name 'a/b' becomes a folder"),
        ({"name": 3}, "name: input should be a valid string, got 3"),
        ({"target": {"device": "host", "runner": "tvm"}}, "budgets are measured with onnxruntime; TVM libraries are"),
        ({"target": {"device": "host", "runner": "tflite"}}, "target.runner: input should be 'onnxruntime' or 'tvm'"),
        ({"target": {"device": "Host", "runner": "onnxruntime"}}, "this machine is written `host`"),
        ({"target": {"device": "host", "runner": "onnxruntime", "dtype": "int8"}}, "networks are exported in float32"),
        ({"target": {"device": "host", "runner": "onnxruntime", "threads": 0}}, "target: target threads is 0"),
        ({"target": {"device": "host", "runner": "onnxruntime", "batch": 8}}, "it needs a target with batch 1, not 8"),
    ],
)
def test_what_is_wrong_is_said_with_key_value_and_remedy(change: dict[str, Any], message: str) -> None:
    assert message in refusal(small(**change))


@pytest.mark.parametrize("key", ["data", "target", "budgets"])
def test_what_is_missing_is_said_with_an_example(key: str) -> None:
    assert refusal(small(key)).startswith(f"`{key}` is missing; write for example `{key}: ")
    assert refusal(small("name")) == "name is missing; an experiment needs it"


def test_a_budget_on_tvm_of_its_own_is_refused_too() -> None:
    tvm = {"device": "host", "runner": "tvm"}
    assert "measured with onnxruntime" in refusal(small(budgets=[{"latency": "8 ms", "target": tvm}]))


def test_a_batch_is_for_worst_cases() -> None:
    data = small(budgets=[{"latency": "8 ms"}], target={"device": "host", "runner": "onnxruntime", "batch": 8})
    assert config.experiment(data).target.batch == 8


def test_a_message_stays_short_whatever_was_written() -> None:
    assert len(refusal(small(budgets="x" * 10_000))) < 300
    assert len(refusal(small(supernet={"epochs": [[0] * 1000] * 1000}))) < 500


@pytest.mark.parametrize(
    ("kind", "registry"), [("data", DATASETS), ("space", SPACES), ("searcher", SEARCHERS)], ids=lambda x: str(x)[:8]
)
def test_the_arguments_of_every_part_are_those_of_its_signature(kind: str, registry: dict[str, str]) -> None:
    assert registry
    for name in registry:
        with pytest.raises(InputError, match=rf"p\.no_such_argument: {name} has no key 'no_such_argument'"):
            config.part({"name": name, "no_such_argument": 1}, kind, "p")


def test_stages_of_a_space_are_written_as_tables() -> None:
    space = config.experiment(small()).space
    assert space.arguments["stages"] == (
        Stage((8, 12), (1, 2), 2, {"kernel": (3,), "expansion": (1, 2), "se": (False,)}),
    )
    stages = small()["space"]["stages"]
    stages[0]["depth"] = [1]
    assert "space.stages[0].depth: space.stages[0] has no key 'depth'; did you mean 'depths'?" in refusal(
        small(space={"name": "mobile", "stages": stages})
    )
    assert "space.stages[0].stride is missing" in refusal(
        small(space={"name": "mobile", "stages": [{"widths": [8], "depths": [1], "options": {}}]})
    )
    assert "space.stages[0]: expected keys and values" in refusal(small(space={"name": "mobile", "stages": [3]}))


OWN = """
from __future__ import annotations
import numpy as np
from nas.tasks.image_classification.dataset import RawData
from nas.units import Seconds
from search_spaces.toy import toy

def halves(timeout_s: Seconds = 2.0, shades: int = 4) -> RawData:
    x = np.zeros((40, 1, 8, 8), np.uint8)
    x[:, 0, 0, 0] = np.arange(40)
    x[::2, 0, :, 4:] = shades
    y = (np.arange(40) % 2).astype(np.int32)
    return RawData(x[:32], y[:32], x[32:], y[32:], ("a", "b"), "halves")

def narrow(input_shape: tuple[int, ...], classes: int, width: int = 4):
    return toy(input_shape, classes, width)

def unannotated(path="x"):
    open(path, "w").write("called")

def unreadable(path: "NoSuchType") -> RawData: ...

NOT_CALLABLE = 3
"""


@pytest.fixture
def own(nas: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """A folder with parts of the user's own."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "own_parts", raising=False)
    Path("own_parts.py").write_text(OWN)
    return nas


def test_parts_of_your_own_come_from_the_working_directory(own: Command) -> None:
    data = small(
        data={"name": "own_parts:halves", "timeout": "50 ms"},
        space="own_parts:narrow",
        supernet={"batch_size": 8},
        winners={"batch_size": 8},
    )
    experiment = config.experiment(data)
    assert experiment.data.arguments == {"timeout_s": 0.05, "shades": 4}
    assert experiment.space.arguments == {"width": 4}
    assert again(experiment) == experiment
    found = own("check", write(Path(), data))
    assert found.code == 0 and "of (1, 8, 8), space toy" in found.out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "own_parts:halve"}, "has no callable 'halve'; did you mean 'halves'?"),
        ({"data": "own_parts:NOT_CALLABLE"}, "has no callable 'NOT_CALLABLE'."),
        ({"data": "no_such_parts:halves"}, "there is no module 'no_such_parts' on the path or in "),
        ({"data": {"name": "own_parts:halves", "timeout": 50}}, "data.timeout of 50 has no unit"),
        ({"data": {"name": "own_parts:halves", "shade": 5}}, "did you mean 'shades'?"),
        ({"data": {"name": "own_parts:unreadable", "path": "x"}}, "its parameters cannot be read (name 'NoSuchType'"),
        ({"data": {"name": "own_parts:unannotated", "path": "marker"}}, "has to be annotated to return"),
        ({"space": "own_parts:halves"}, "space.name: own_parts:halves is no space: it has no parameter 'input_shape'"),
    ],
)
def test_parts_of_your_own_are_checked_before_they_are_called(
    own: Command, change: dict[str, Any], message: str
) -> None:
    assert message in own("check", write(Path(), small(**change))).error
    assert not Path("marker").exists()


def test_a_module_that_is_broken_is_said_to_be(own: Command) -> None:
    Path("own_broken.py").write_text("def f(:\n")
    assert "own_broken.py, line 1: " in own("check", write(Path(), small(data="own_broken:f"))).error
    Path("own_missing.py").write_text("from nas.tasks.image_classification import no_such_thing\n")
    assert "cannot import name 'no_such_thing'" in own("check", write(Path(), small(data="own_missing:f"))).error


def test_units_reach_the_settings_in_seconds() -> None:
    data = small(budgets=[{"latency": "1.5 ms"}, {"latency": "250us", "of": "expected"}], verify={"block_time": "1 s"})
    experiment = config.experiment(data)
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


def test_our_own_loaders_are_what_is_asked_of_a_users() -> None:
    arguments: dict[str, dict[str, Any]] = {
        "digits": {},
        "fashion_mnist": {},
        "cifar10": {"path": "x"},
        "cifar100": {"path": "x"},
        "image_folder": {"path": "x", "size": 8},
        "npz": {"path": "x"},
    }
    for name in DATASETS:
        own = config.part({"name": DATASETS[name], **arguments[name]}, "data", "data")
        assert own.reference == DATASETS[name]
