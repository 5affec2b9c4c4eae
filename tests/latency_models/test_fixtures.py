"""What earlier releases stored: models load, predict the same seconds and learn more, tables hold what they held."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latency_models import few_shot, mlp
from latency_models.calibration import SCHEMA, Calibration
from latency_models.features import FEATURES, REORDERED, UNHIDDEN
from latency_models.few_shot import storage
from latency_models.flops import Flops
from latency_models.kernels import KernelTable, Signature
from latency_models.lookup import LookUp
from latency_models.roofline import LinearModel, Roofline
from latency_models.table import load_table
from search_spaces.ir import Network

FOLDER = Path(__file__).parent / "fixtures"
MODELS: dict[str, type[LinearModel]] = {"roofline": Roofline, "flops": Flops, "lookup": LookUp}
CASES = [(path.stem, json.loads(path.read_text())) for path in sorted(FOLDER.glob("schema*.json"))]
#: What is beside calibrations: made-up tables, the priors and perceptrons of each schema, and what they said.
OTHERS = json.loads((FOLDER / "stored.json").read_text())
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
    again = model.fit([more], 1.1 * model.predict([more]).cumulative_s())
    assert again.calibration.networks == model.calibration.networks + 1
    np.testing.assert_allclose(again.predict(networks).total_s, wanted["refitted_total_s"], rtol=0.03)


def test_what_schema_1_did_not_count_stays_uncounted() -> None:
    old = Calibration.load(FOLDER / "schema1-roofline.npz")
    columns = FEATURES["roofline"].columns
    for name in (UNHIDDEN, REORDERED):
        assert not old.rows.features[:, columns.index(name)].any()
        assert old.coefficients[name] == 0
    assert not old.machine.refined and old.machine.channel_block == 1


def test_the_schemas_of_priors_and_perceptrons_have_fixtures() -> None:
    assert (FOLDER / f"prior-schema{storage.SCHEMA}.npz").is_file()
    assert (FOLDER / f"mlp-schema{mlp.SCHEMA}.npz").is_file()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("prior-*.npz")), ids=lambda path: path.stem)
def test_a_stored_prior_says_what_it_did(path: Path) -> None:
    said, prior = OTHERS["prior"], few_shot.load(path)
    assert (list(prior.op_names), list(prior.devices)) == (said["op_names"], said["devices"])
    candidates = prior.candidates(np.array(said["networks"]), said["op_names"])
    belief = prior.adapt(candidates, said["index"], said["seconds"])
    for wanted, found in (
        ("mean_s", belief.mean_s),
        ("low_s", belief.quantile_s(0.05)),
        ("high_s", belief.quantile_s(0.95)),
    ):
        np.testing.assert_allclose(found[said["rest"]], said[wanted], rtol=1e-6)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("mlp-*.npz")), ids=lambda path: path.stem)
def test_a_stored_perceptron_says_what_it_did(path: Path) -> None:
    said, model = OTHERS["mlp"], mlp.Mlp.load(path)
    genomes = np.array(said["genomes"])
    assert model.target.key == said["target"]
    np.testing.assert_allclose(model.latency_s(genomes), said["score_s"], rtol=1e-6)
    np.testing.assert_allclose(model.std_s(genomes), said["std_s"], rtol=1e-6)


def test_a_stored_table_of_kernels_has_the_same_prices() -> None:
    said, table = OTHERS["kernels"], KernelTable.load(FOLDER / "kernels.npz")
    found = np.array([table.price(Signature(*key)) for key in said["asked"]], float)
    np.testing.assert_allclose(found, np.array(said["price_s"], float), rtol=1e-12)


def test_a_stored_latency_table_holds_what_it_held() -> None:
    said, table = OTHERS["table"], load_table(FOLDER / "table.npz")
    first = len(said["latency_s"])
    np.testing.assert_allclose(table.latency_s[:first], np.array(said["latency_s"], float), rtol=1e-12)
    np.testing.assert_array_equal(table.ops[:first], said["ops"])
    assert (len(table), list(table.arch_str[:first])) == (said["networks"], said["arch_str"])
    for name in ("devices", "op_names", "families", "batch"):
        assert list(getattr(table, name)) == said[name]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.npz")), ids=lambda path: path.stem)
def test_no_file_holds_a_pickle(path: Path) -> None:
    """Member by member, so that not even an array that nobody reads needs one."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                assert np.lib.format.read_array(member, allow_pickle=False).dtype != object
