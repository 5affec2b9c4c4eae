"""A budget answers for itself, and nobody else asks of which kind it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from hardware_profiles import Target, load
from latency_models.roofline import Roofline
from nas.config.settings import Budget, BudgetOf
from nas.run.lenient import Lenient
from nas.run.verdict_files import read_budget
from search_spaces.slots import random_genomes, with_exits
from search_spaces.toy import toy

ROOT = Path(__file__).parents[3]
KINDS: tuple[BudgetOf, ...] = get_args(BudgetOf)
SOURCES = sorted(
    path
    for folder in ("nas", "benchmarks", "latency_models", "search_spaces", "hardware_profiles")
    for path in (ROOT / folder).rglob("*.py")
)
WORST, MEAN = Budget(8e-3, "worst_case"), Budget(8e-3, "expected")


def branches(tree: ast.AST) -> Iterator[int]:
    """Lines outside the class Budget that compare, match or look up a kind by its name, or a budget's `of`."""

    def told(node: ast.AST) -> bool:
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            return any(told(each) for each in node.elts)
        kind = isinstance(node, ast.Constant) and node.value in KINDS
        return kind or (ast.unparse(node).endswith(("budget.of", "budget['of']", "Budget.of")))

    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef) and node.name == "Budget":
            continue
        asked: list[ast.AST | None] = []
        match node:
            case ast.Compare():
                asked = [node.left, *node.comparators]
            case ast.Match():
                asked = [node.subject]
            case ast.MatchValue():
                asked = [node.value]
            case ast.Dict():
                asked = [*node.keys]
            case ast.Subscript():
                asked = [node.slice] if not ast.unparse(node.value).endswith("Literal") else []
            case ast.Call(func=ast.Attribute(attr="get" | "startswith" | "endswith" | "index")):
                asked = [node.func.value, *node.args]
        if any(each is not None and told(each) for each in asked):
            yield node.lineno if isinstance(node, ast.expr | ast.stmt) else 0
        yield from branches(node)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_branches_on_the_kind_of_a_budget(path: Path) -> None:
    assert not list(branches(ast.parse(path.read_text())))


@pytest.mark.parametrize(
    "line",
    [
        "worst = budget.of == 'worst_case'",
        "if self.winner.budget.of != text: pass",
        "first = [w for w in winners if w['budget']['of'] in ('worst_case', 'x')]",
        "how = {'worst_case': 1, 'expected': 2}[of]",
        "how = words.get(budget.of, '')",
        "how = words['expected']",
        "match budget.of:\n    case _: pass",
        "match of:\n    case 'expected': pass",
    ],
)
def test_a_branch_would_be_found(line: str) -> None:
    assert list(branches(ast.parse(line)))


@pytest.mark.parametrize("line", ["Budget(1e-3, 'expected')", "{'of': 'expected'}", "if slot < trial.of: pass"])
def test_naming_a_kind_is_no_branch(line: str) -> None:
    assert not list(branches(ast.parse(line)))


def test_there_is_a_class_to_leave_out() -> None:
    """The rule would be empty if budgets were described elsewhere."""
    inside = [
        node for path in SOURCES for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and node.name == "Budget"
    ]  # fmt: skip
    assert len(inside) == 1 and any(isinstance(node, ast.Match) for node in ast.walk(inside[0]))


@pytest.mark.parametrize("of", KINDS)
def test_every_kind_has_every_answer(of: BudgetOf) -> None:
    budget = Budget(8e-3, of)
    cumulative = np.array([[1.0, 2.0, 4.0], [2.0, 3.0, 3.5]])
    rates = np.array([[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]])
    assert budget.describe().startswith("at most 8") and budget.describe().endswith(budget.how)
    assert budget.needs_thresholds in (True, False)
    together = budget.seconds(cumulative, rates)
    assert together.shape == (2,)
    for row in range(2):
        assert budget.seconds(cumulative[row], rates[row]) == together[row]
    assert (budget.lower_bound(cumulative) <= together).all()
    # Who all go to the last exit takes what the last exit takes, whatever is bounded.
    assert together[1] == cumulative[1, -1]
    assert Budget.stored(of, 8e-3) == budget


def test_what_each_kind_bounds() -> None:
    reach = np.array([[np.nan, 2.0, np.nan, 4.0], [1.0, 2.0, 3.0, 8.0]])
    assert WORST.lower_bound(reach).tolist() == [4.0, 8.0]
    assert MEAN.lower_bound(reach).tolist() == [2.0, 1.0]
    assert WORST.seconds(reach[1], (0.5, 0.25, 0.25, 0.0)) == 8.0
    assert MEAN.seconds(reach[1], (0.5, 0.25, 0.25, 0.0)) == 0.5 + 0.5 + 0.75
    assert (WORST.needs_thresholds, MEAN.needs_thresholds) == (False, True)
    assert (WORST.how, MEAN.how) == ("in the worst case", "on average")


def test_the_mean_is_the_dot_product_to_the_last_bit() -> None:
    """Choices among candidates hang on it, and a run that goes on must choose the same."""
    rng = np.random.default_rng(0)
    for exits in range(1, 7):
        rates, reach = rng.dirichlet(np.ones(exits), 50), np.sort(rng.random((50, exits)), axis=1) * 1e-3
        assert MEAN.seconds(reach, rates).tolist() == [float(np.dot(a, b)) for a, b in zip(rates, reach, strict=True)]


def test_predictions_are_of_what_is_bounded() -> None:
    space = toy((1, 8, 8), 4, max_exits=1)
    genome = with_exits(space, random_genomes(space, 1, np.random.default_rng(0))[0], (0,))
    prediction = Roofline(load("rpi4b"), Target("rpi4b", "onnxruntime")).predict([space.decode(genome)])
    rates = [[0.75, 0.25]]
    seconds, std = MEAN.predicted(prediction, rates)
    assert seconds.tolist() == prediction.expected_s(np.array(rates)).tolist()
    assert std.tolist() == prediction.expected_std_s(np.array(rates)).tolist()
    assert seconds[0] == pytest.approx(float(MEAN.seconds(prediction.reach_s()[0], rates[0])))
    worst, worst_std = WORST.predicted(prediction, rates)
    assert (worst.tolist(), worst_std.tolist()) == (prediction.total_s.tolist(), prediction.total_std_s.tolist())
    assert worst[0] > seconds[0]


def test_a_file_may_name_a_kind_that_is_not_known() -> None:
    assert Budget.stored("p42", 1e-3) is None
    unknown = read_budget(Lenient({"name": "late", "of": "p42", "latency_s": 1e-3}))
    assert (unknown.how, unknown.needs_thresholds, unknown.latency_s) == ("", False, 1e-3)
    without = read_budget(Lenient({"name": "old", "latency": "8 ms"}))
    assert (without.how, without.latency_s) == (WORST.how, 8e-3)
    assert read_budget(Lenient({"of": "expected"})).how == MEAN.how
