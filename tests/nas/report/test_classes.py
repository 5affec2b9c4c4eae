"""Recall by class on the page, where classes are of unequal size."""

from __future__ import annotations

import json
from pathlib import Path

from nas.process.files import atomic_write_json
from nas.report import write_report
from tests.nas.report.made_up_run import space, write_run


def page_of(folder: Path) -> str:
    return write_report(folder, space()).read_text(encoding="utf-8")


def test_recall_by_class_is_shown_the_lowest_first(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", networks=24)
    assert 'id="classes"' not in page_of(run)
    tested = json.loads((run / "test.json").read_text())
    for winner in tested["winners"]:
        winner["accuracy"]["balanced"] = 0.5
        winner["classes"] = [
            {"name": "healthy", "images": 983, "recall": 1.0, "interval": [0.996, 1.0]},
            {"name": "<ill>", "images": 17, "recall": 0.0, "interval": [0.0, 0.184]},
            {"name": "unseen", "images": 0, "recall": None, "interval": None},
        ]
    atomic_write_json(run / "test.json", tested)
    page = page_of(run)
    table = page[page.index('id="classes"') : page.index('id="networks"')]
    assert "which chance alone brings to 33.3\u202f%" in table and "0.0\u202f%, of &lt;ill&gt;" in table
    assert table.index("&lt;ill&gt;</td>") < table.index("healthy</td>") < table.index("unseen</td>")
    assert page.count("<dt>balanced accuracy</dt>") == len(tested["winners"])
    assert "chosen by their balanced accuracy" not in page
    experiment = json.loads((run / "experiment.yaml").read_text())
    experiment["search"] = {"objectives": ["balanced_accuracy", "params"]}
    atomic_write_json(run / "experiment.yaml", experiment)
    assert "Networks were chosen by their balanced accuracy" in page_of(run)
