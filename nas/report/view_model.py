"""From a run to what its page says: verdict, cards, figures and tables, ready for the template."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from nas import tolerances
from nas.report import agreement, architecture, exits, formatting, front, single_calls, svg
from nas.report.agreement import Agreement
from nas.report.reading import ReportedRun
from nas.report.records import Pair
from nas.run import layout, verdict
from nas.run.verdict import BudgetRow, State
from search_spaces.slots import SearchSpace, SpaceError

_WIDE, _NARROW = (960.0, 520.0), (358.0, 430.0)
_MOST_FILES = 200
#: What the files of a run folder are for.
_PURPOSES = {
    layout.EXPERIMENT: "the experiment, every default spelled out",
    layout.ENVIRONMENT: "versions, machine, seed and hashes of the data's parts",
    layout.OPTIMISER: "what the differentiable search found for each budget",
    layout.TRIALS: "every network that was judged",
    layout.FRONT: "the Pareto set and the candidates of each budget",
    layout.MEASUREMENTS: "every reading that was taken",
    layout.RunFiles(Path()).latency_model().name: "the latency model that the search used",
    layout.SUPERNET: "the shared weights",
    layout.SUPERNET_IMAGES: "which images the shared weights were trained on",
    layout.UNMET: "why budgets have no network",
    layout.VERIFY: "what was measured of the winners",
    layout.TEST: "what the test images said, and whether the budgets are kept",
    layout.ELSEWHERE: "what the winners took on other devices",
    layout.LOG: "times and events",
    layout.OUTPUT: "what it said, as the cell of a sweep",
    layout.REPORT: "this page",
}


@dataclass(frozen=True)
class Answer:
    """The answer to the one question: are the budgets kept?"""

    state: State
    headline: str
    text: str


@dataclass(frozen=True)
class Card:
    """One budget, and what became of it."""

    number: int
    budget: BudgetRow
    winner: verdict.Verdict | None
    state: State
    statement: str
    target: str
    bar: Markup | None
    icon: Markup

    @property
    def limit(self) -> str:
        """The budget in words."""
        return formatting.budget(self.budget.latency_s, self.budget.how)


@dataclass(frozen=True)
class FrontView:
    """The picture of the search at two widths, and what it leaves out."""

    wide: Markup
    narrow: Markup
    cloud: front.Cloud
    below: int
    infeasible: int
    failed: int


@dataclass(frozen=True)
class AgreementView:
    """Predicted against measured on one target: kinds of networks with how well they agree."""

    target: str
    picture: Markup
    pairs: tuple[Pair, ...]
    fitted: Agreement | None
    chosen: Agreement | None
    held_out_error: float | None


@dataclass(frozen=True)
class WinnerView:
    """One winner's pictures; `undrawable` says why there is no drawing."""

    number: int
    winner: verdict.Verdict
    icon: Markup
    over_time: Markup | None
    calls: Markup | None
    rates: Markup | None
    architecture: Markup | None
    undrawable: str


@dataclass(frozen=True)
class FileRow:
    """A file of the run folder."""

    path: str
    bytes: int
    purpose: str


@dataclass(frozen=True)
class ViewModel:
    """All the template needs."""

    run: ReportedRun
    answer: Answer
    target: str
    cards: tuple[Card, ...]
    front: FrontView | None
    agreements: tuple[AgreementView, ...]
    winners: tuple[WinnerView, ...]
    files: tuple[FileRow, ...]
    estimates: str
    tolerance: float = tolerances.ARTEFACT_RELATIVE
    disagreement: float = tolerances.TOP1_DISAGREEMENT_SHARE
    within: float = agreement.WITHIN


def build(run: ReportedRun, space: SearchSpace) -> ViewModel:
    """The page of a run."""
    cards = tuple(_card(run, number, budget) for number, budget in enumerate(run.budgets))
    return ViewModel(
        run=run,
        answer=_answer(run, cards),
        target=formatting.target(run.target, run.devices),
        cards=cards,
        front=_front(run),
        agreements=tuple(_agreements(run)),
        winners=tuple(_winner(space, number, winner) for number, winner in front.numbered(run)),
        files=tuple(_files(run.folder)),
        estimates=_estimates(run),
    )


def _estimates(run: ReportedRun) -> str:
    """What the estimated energy and memory of the winners are, and why there is no energy; empty without any."""
    said = []
    if any(winner.energy_j is not None or winner.memory_bytes is not None for winner in run.winners):
        said.append("Energy and peak memory are estimates from the profile and the network; no meter was read.")
    said += dict.fromkeys(f"No energy is estimated: {winner.no_energy}." for winner in run.winners if winner.no_energy)
    return " ".join(said)


def _card(run: ReportedRun, number: int, budget: BudgetRow) -> Card:
    winner = run.winner_of(budget)
    statement = run.unmet.get(budget.name, "")
    state: State = winner.state if winner else "not kept" if budget.name in run.unmet else "not measured"
    if winner is None and _nothing_fits(run):
        state, statement = "not kept", statement or "No network of the space keeps it."
    elif winner is None and not statement:
        statement = (
            "The verification names no network for this budget."
            if run.verified
            else "The run has not come to measuring a network for this budget."
        )
    target = (winner.target if winner else "") or budget.target or run.target
    return Card(
        number, budget, winner, state, statement, formatting.target(target, run.devices),
        exits.budget_bar(winner) if winner else None, icon(number),
    )  # fmt: skip


def icon(number: int) -> Markup:
    """The mark of a budget, as in the picture of the search."""
    shape = svg.SHAPES[number % len(svg.SHAPES)]
    return svg.drawing(20, 20, "", [svg.mark(shape, 10, 10, 7, f"winner-mark b{number % 6}")], "icon")


def _nothing_fits(run: ReportedRun) -> bool:
    """Whether the run ended because no network of its space can keep any budget."""
    return bool(run.statements) and not run.verified


def _answer(run: ReportedRun, cards: tuple[Card, ...]) -> Answer:
    if _nothing_fits(run):
        return Answer("not kept", "Nothing fits.", " ".join(dict.fromkeys(run.statements)))
    kept = sum(card.state == "kept" for card in cards)
    broken = sum(card.state == "not kept" for card in cards)
    total = len(cards)
    if total and kept == total:
        headline = {1: "The budget is kept.", 2: "Both budgets are kept."}.get(total, f"All {total} budgets are kept.")
        bound = f"the upper {formatting.percent(tolerances.KEPT_LEVEL, 0)} bound of every winner's latency"
        text = f"Measured on the target: {bound} is within its budget."
        return Answer("kept", headline, text)
    if broken:
        headline = "The budget is not kept." if total == 1 else "No budget is kept."
        if kept:
            headline = f"{kept} of {total} budgets {'is' if kept == 1 else 'are'} kept."
        waiting = total - kept - broken
        text = "A network that breaks its budget is not called a winner. What was found, and how it fails, follows."
        return Answer("not kept", headline, text + (f" Not measured: {waiting} of {total}." if waiting else ""))
    if run.verified and kept:
        return Answer("not measured", f"{kept} of {total} budgets kept, the rest not measured.", "The reasons follow.")
    if run.verified:
        return Answer("not measured", "Nothing was measured.", "The reasons follow.")
    stopped = next((stage.name for stage in run.stages if not stage.ended), "")
    text = f"The run stopped during “{stopped}”. " if stopped else "The run ended before its networks were verified. "
    return Answer("not measured", "Not verified yet.", text + "What there is so far follows.")


def _front(run: ReportedRun) -> FrontView | None:
    found = front.cloud(run)
    if not found.worst and not found.winners:
        return None
    wide, below = front.picture(run, found, *_WIDE)
    narrow, _ = front.picture(run, found, *_NARROW)
    status = [trial.status for trial in run.trials]
    return FrontView(wide, narrow, found, below, status.count("infeasible"), status.count("failed"))


def _agreements(run: ReportedRun) -> Iterator[AgreementView]:
    for target in dict.fromkeys(pair.target for pair in run.pairs):
        pairs = tuple(pair for pair in run.pairs if pair.target == target)
        yield AgreementView(
            formatting.target(target, run.devices),
            agreement.picture(pairs),
            pairs,
            agreement.agreement([pair for pair in pairs if pair.in_sample]),
            agreement.agreement([pair for pair in pairs if not pair.in_sample]),
            run.held_out_error if target == run.target else None,
        )


def _winner(space: SearchSpace, number: int, winner: verdict.Verdict) -> WinnerView:
    picture, undrawable = None, ""
    try:
        if winner.genome:
            picture = architecture.drawing(space, winner.genome, winner.exits, winner.name)
        else:
            undrawable = "The verification does not say the genome."
    except SpaceError as error:
        undrawable = f"It cannot be drawn: {error}"
    over_time, rates = exits.accuracy_over_time(winner, number), exits.rates_bar(winner.exits)
    calls = single_calls.picture(winner, number)
    return WinnerView(number, winner, icon(number), over_time, calls, rates, picture, undrawable)


def _files(folder: Path) -> Iterator[FileRow]:
    """The folder's files, this page among them though it is not written yet."""
    found = sorted(
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    for path in sorted(found[:_MOST_FILES], key=lambda path: (len(path.parts) > 1, str(path))):
        if str(path) != layout.REPORT:
            yield FileRow(path.as_posix(), (folder / path).stat().st_size, _PURPOSES.get(path.parts[0], ""))
