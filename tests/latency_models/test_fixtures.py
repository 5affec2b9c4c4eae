"""Latency models as earlier releases stored them: they load, predict the same seconds, and learn more."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latency_models.calibration import SCHEMA, Calibration
from latency_models.features import FEATURES, REORDERED, UNHIDDEN
from latency_models.flops import Flops
from latency_models.lookup import LookUp
from latency_models.roofline import LinearModel, Roofline
from search_spaces.ir import Network

FOLDER = Path(__file__).parent / "fixtures"
MODELS: dict[str, type[LinearModel]] = {"roofline": Roofline, "flops": Flops, "lookup": LookUp}
CASES = [(path.stem, json.loads(path.read_text())) for path in sorted(FOLDER.glob("schema*.json"))]
STORED = [(schema, name, case) for schema, case in CASES for name in MODELS if name in case]


def test_this_schema_has_a_fixture() -> None:
    assert f"schema{SCHEMA}" in dict(CASES)


@pytest.mark.parametrize(("schema", "name", "case"), STORED, ids=[f"{schema}-{name}" for schema, name, _ in STORED])
def test_a_stored_model_predicts_what_it_did(schema: str, name: str, case: dict[str, Any]) -> None:
    networks = [Network.from_json(text) for text in case["networks"]]
    wanted = case[name]
    model = MODELS[name].load(FOLDER / f"{schema}-{name}.npz")
    prediction = model.predict(networks)
    np.testing.assert_allclose(prediction.segment_s, np.array(wanted["segment_s"], float), rtol=1e-9)
    np.testing.assert_allclose(prediction.total_std_s, wanted["total_std_s"], rtol=1e-9)
    assert (model.target.key, model.calibration.networks) == (wanted["target"], wanted["networks"])
    more = Network.from_json(case["more"])
    again = model.fit([more], 1.1 * model.predict([more]).reach_s())
    assert again.calibration.networks == model.calibration.networks + 1
    np.testing.assert_allclose(again.predict(networks).total_s, wanted["refitted_total_s"], rtol=0.03)


def test_what_schema_1_did_not_count_stays_uncounted() -> None:
    old = Calibration.load(FOLDER / "schema1-roofline.npz")
    columns = FEATURES["roofline"].columns
    for name in (UNHIDDEN, REORDERED):
        assert not old.rows.features[:, columns.index(name)].any()
        assert old.coefficients[name] == 0
    assert not old.machine.refined and old.machine.channel_block == 1
