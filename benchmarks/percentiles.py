"""How often a 99th percentile that was verified holds for new calls, and how often a median's bound does.

    nas run experiments/quickstart.yaml && python benchmarks/percentiles.py runs/quickstart --json OUT [--every 33]
    python benchmarks/percentiles.py RUN --stream --json OUT

The winner of the run's first worst-case budget is timed as `nas verify` times it where a budget is of p99: blocks of
single calls and their bound, and calls in a row for the bound of the median. A p99 budget just above the former is then
asked of new calls: `--repetitions` times 1,000 single calls, with seconds of rest in between. `within` counts the
repetitions whose 99th percentile is within that budget; `over_median` is the share of single calls, over all
repetitions, that take longer than the *median's* upper 95 % bound, which a budget of the worst case is about.
With `--stream` it is the run's first winner with exits of a percentile's budget, by that percentile, and all calls are
over a stream of test images, which are drawn anew for each block and each repetition.
Repetitions beside which the machine was disturbed are counted too, and those without them apart (`undisturbed`).
Exits 1 where fewer than 90 % of all are within the budget. Nothing else may be busy on the machine.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import figures
import numpy as np

from nas.config.plugins import NO_PLUGINS
from nas.deploy.cascade import Cascade
from nas.devices.runners import runner_for
from nas.devices.runners.base import load_cascade
from nas.devices.timing.bounds import percentile_upper_95_s, upper_95_s
from nas.devices.timing.cascades import time_cascades
from nas.devices.timing.plan import SinglePlan, single_plan
from nas.devices.timing.single_calls import SingleJob, single_calls
from nas.run.artefacts import plan_of, prepared_samples, shipped
from nas.run.context import Context
from nas.run.opening import reopen
from nas.run.winners import Winner, standing
from nas.search.settling import leaves

#: How far above the measured bound the budget lies that is asked of new calls.
ABOVE = 1.01
#: Of the repetitions so many must be within the budget.
GOAL = 0.9
CALLS = 1000


def to_last(cascade: Cascade, sample: Any) -> object:
    """A call that passes every exit."""
    return cascade.run_to(sample, len(cascade) - 1)


def subject(context: Context, stream: bool) -> tuple[Winner, float]:
    """The winner that is timed, and the percentile; ends the program where the run has none such."""
    for winner in standing(context)[0].values():
        if stream and winner.budget.percentile is not None and leaves(context, winner):
            return winner, winner.budget.percentile
        if not stream and not winner.budget.needs_thresholds:
            return winner, 0.99
    raise SystemExit("no winner of this run has such a budget")


def measured(folder: Path, every_s: float | None, repetitions: int, rest_s: float, stream: bool) -> dict[str, Any]:
    """The budget, and what new calls make of it."""
    context = reopen(folder, NO_PLUGINS)
    winner, share = subject(context, stream)
    target = context.experiment.target_of(winner.budget)
    cascade = load_cascade(runner_for(target), shipped(context, winner, target))
    samples, plan = prepared_samples(context, "test"), replace(plan_of(context, target), gap_s=1.5)
    decisive = replace(single_plan(share, every_s), seed=0 if stream else None)
    read = time_cascades({"winner": cascade}, (), samples, replace(plan, singles={"winner": decisive}))["winner"]
    if read.single is None or read.single.refused:
        raise SystemExit(f"nothing could be measured: {read.single and read.single.refused}")
    bound_s, median_s = percentile_upper_95_s(read.single, share), upper_95_s(read.to_exits[-1])
    once = SinglePlan(blocks=1, calls=CALLS, least=CALLS, every_s=every_s)
    call = cascade if stream else partial(to_last, cascade)
    statistic, rows = f"p{100 * share:.0f}_s", list[dict[str, Any]]()
    for number in range(repetitions):
        time.sleep(rest_s)
        drawn = replace(once, seed=number + 1 if stream else None)
        new = single_calls({"winner": SingleJob(call, samples, drawn)}, plan)["winner"]
        within_s = float(np.quantile(new.seconds, share, method="higher"))
        over = float((new.seconds > median_s).mean())
        rows.append({statistic: within_s, "over_median": over, "disturbed": new.refused})
        print(
            f"{number + 1}: {share:.0%} within {1e6 * within_s:.1f} us, {over:.1%} over the median's bound", flush=True
        )
    budget_s = ABOVE * bound_s
    return {
        "run": folder.name,
        "every_s": every_s,
        "percentile": share,
        "stream": stream,
        "bound_s": bound_s,
        "budget_s": budget_s,
        "median_bound_s": median_s,
        "repetitions": repetitions,
        "within": sum(row[statistic] <= budget_s for row in rows),
        "undisturbed": sum(not row["disturbed"] for row in rows),
        "undisturbed_within": sum(row[statistic] <= budget_s for row in rows if not row["disturbed"]),
        "over_median": float(np.mean([row["over_median"] for row in rows])),
        "rows": rows,
    }


def main() -> int:
    """Measure, print, write the JSON; 1 where the budget holds too seldom."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run")
    parser.add_argument(
        "--every", type=float, metavar="MS", help="milliseconds from call to call; else one after another"
    )
    parser.add_argument("--stream", action="store_true", help="single calls over a stream of images that leave early")
    parser.add_argument("--repetitions", type=int, default=50, help="of 1,000 new calls each")
    parser.add_argument("--rest", type=float, default=5.0, help="seconds between repetitions")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="write the figures there")
    given = parser.parse_args()
    every_s = None if given.every is None else 1e-3 * given.every
    found = measured(given.run, every_s, given.repetitions, given.rest, given.stream)
    figures.write(given.json, found)
    print(
        f"budget {1e6 * found['budget_s']:.1f} us for {100 * found['percentile']:.0f} of 100 calls: within it in "
        f"{found['within']} of {found['repetitions']} repetitions, in {found['undisturbed_within']} of "
        f"{found['undisturbed']} that were undisturbed; {found['over_median']:.1%} of single calls are over the "
        f"median's bound, {1e6 * found['median_bound_s']:.1f} us"
    )
    return 0 if found["within"] >= GOAL * found["repetitions"] else 1


if __name__ == "__main__":
    sys.exit(main())
