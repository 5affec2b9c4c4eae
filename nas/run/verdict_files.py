"""Verdicts on disk: verify.json, which says what was measured, and test.json, which says what the test images said.

Verify looks at no label and writes the one; test writes the other. Reading is lenient: a run may have ended early, or
be of another release (the first one had all of it in verify.json).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from nas.config.budget import Budget
from nas.config.units import parse_quantity
from nas.process.files import atomic_write_json, read_json, sha256_file
from nas.run.layout import RunFiles
from nas.run.lenient_json import LenientJson
from nas.run.verdict import Attempt, BudgetRow, Check, ClassRow, ExitRow, Verdict, Verdicts

#: Verify.json of schema 1 held what test.json holds now.
SCHEMA: Final = 2


def write_measured(files: RunFiles, verdicts: Verdicts) -> None:
    """Write verify.json."""
    unmet = [{"budget": budget_record(budget), "statement": statement} for budget, statement in verdicts.unmet]
    winners = [_measured_record(verdict) for verdict in verdicts.winners]
    counts = {"looks": verdicts.looks, "tried": verdicts.tried}
    atomic_write_json(files.verify, {"schema": SCHEMA, **counts, "winners": winners, "unmet": unmet})


def write_tested(files: RunFiles, verdicts: Verdicts) -> None:
    """Write test.json, which says by a hash which verify.json it is about."""
    winners = [_tested_record(verdict) for verdict in verdicts.winners]
    about = sha256_file(files.verify)
    atomic_write_json(files.test, {"schema": SCHEMA, "verify_sha256": about, "kept": verdicts.kept, "winners": winners})


def load_verdicts(files: RunFiles) -> Verdicts:
    """What was verified and tested so far; raises InputError where a file cannot be read."""
    return read_verdicts(_json(files.verify), _json(files.test), measured_hash(files))


def measured_hash(files: RunFiles) -> str:
    """What test.json has to name if it is about the verify.json that is there; empty where there is none."""
    return sha256_file(files.verify) if files.verify.is_file() else ""


def read_verdicts(measured: LenientJson, tested: LenientJson, measured_sha256: str) -> Verdicts:
    """Verdicts from the contents of verify.json, its hash, and test.json, whatever there is of them."""
    if not measured:
        return Verdicts((), (), found=False)
    old = measured["schema"].value == 1
    if old:
        tested = measured if measured["tested"].flag is not False else LenientJson()
    elif tested["verify_sha256"].text != measured_sha256:
        tested = LenientJson()  # of an earlier verification
    about = {record["name"].text: record for record in tested["winners"].items}
    winners = tuple(
        read_verdict(record, about.get(record["name"].text, LenientJson())) for record in measured["winners"].items
    )
    unmet = tuple((read_budget(record["budget"]), record["statement"].text) for record in measured["unmet"].items)
    looks, tried = (int(measured[name].number or 0) for name in ("looks", "tried"))
    kept = (tested["kept"].flag or False) and not unmet and all(verdict.kept is True for verdict in winners)
    return Verdicts(winners, unmet, looks, bool(tested), kept, tried=tried)


def read_budget(record: LenientJson, target: str = "") -> BudgetRow:
    """A budget from a file, as it stands in a verdict (`latency_s`) or in experiment.yaml (`latency: 0.008 s`)."""
    latency_s = record["latency_s"].number
    if latency_s is None:
        latency_s = _seconds(record["latency"].text)
    of = record["of"].text or Budget.of
    known = Budget.stored(of, latency_s or math.nan, _seconds(record["every"].text) or record["every_s"].number)
    if known is None:
        return BudgetRow(record["name"].text, of, "", False, latency_s, target)
    row = BudgetRow.of_budget(known, target)
    return replace(row, name=record["name"].text, latency_s=latency_s)


def _seconds(text: str) -> float | None:
    try:
        return parse_quantity(text, "s") if text else None
    except ValueError:
        return None


def budget_record(budget: BudgetRow) -> dict[str, Any]:
    """A budget as it stands in files; without a duty cycle as in those of older releases, which have to be equal."""
    record = {"name": budget.name, "of": budget.of, "latency_s": budget.latency_s}
    return record if budget.every_s is None else {**record, "every_s": budget.every_s}


def _measured_record(verdict: Verdict) -> dict[str, Any]:
    """What verify.json has of it."""
    return {
        "name": verdict.name,
        "budget": budget_record(verdict.budget),
        "target": verdict.target,
        "budget_s": verdict.budget_s,
        "predicted_s": verdict.predicted_s,
        "predicted_std_s": verdict.predicted_std_s,
        "predicted_90_s": verdict.predicted_90_s,
        "probability_within": verdict.probability_within,
        "measured_s": verdict.measured_s,
        "upper_95_s": verdict.upper_95_s,
        "single_calls": {
            "p95_s": verdict.p95_s,
            "p99_s": verdict.p99_s,
            "calls": verdict.single_calls,
            "every_s": verdict.every_s,
            "over_images": verdict.over_images,
            "refused": verdict.single_refused,
            "shares": [round(share, 4) for share, _ in verdict.distribution],
            "seconds": [round(seconds, 9) for _, seconds in verdict.distribution],
        },
        "contended": verdict.contended,
        "disturbed": verdict.disturbed,
        "within_budget": verdict.within_budget,
        "reason": verdict.reason,
        "worst_case_s": verdict.worst_case_s,
        "expected_s": verdict.expected_s,
        "key": verdict.key,
        "genome": verdict.genome,
        "exits": [
            {"name": e.name, "reach_s": e.cumulative_s, "rate": e.rate, "threshold": e.threshold} for e in verdict.exits
        ],
        "accuracy": {"val": verdict.val_accuracy},
        "counts": verdict.counts,
        "energy_estimate_j": verdict.energy_j,
        "energy_estimate_reason": verdict.no_energy,
        "peak_memory_estimate_bytes": verdict.memory_bytes,
        "attempts": [
            {"key": a.key, "purpose": a.purpose, "predicted_s": a.predicted_s, "measured_s": a.measured_s,
             "kept": a.kept}
            for a in verdict.attempts
        ],
        "files": verdict.files,
        "sha256": verdict.sha256,
    }  # fmt: skip


def _tested_record(verdict: Verdict) -> dict[str, Any]:
    """What test.json has of it."""
    return {
        "name": verdict.name,
        "kept": verdict.kept,
        "reason": verdict.reason,
        "exits": [
            {"name": e.name, "accuracy": e.accuracy, "interval": e.interval, "test_rate": e.test_rate}
            for e in verdict.exits
        ],
        "accuracy": {
            "test_before_export": verdict.before_export,
            "test_exported": verdict.test_accuracy,
            "interval": verdict.interval,
            "images": verdict.test_images,
            "balanced": verdict.balanced_accuracy,
        },
        "classes": [
            {"name": c.name, "images": c.images, "recall": c.recall, "interval": c.interval} for c in verdict.classes
        ],
        "parity": {c.runtime: _check_record(c) for c in verdict.checks},
        "tvm_s": verdict.tvm_s,
    }


def _json(path: Path) -> LenientJson:
    return LenientJson(read_json(path, "delete it and give `nas verify` again") if path.exists() else None)


def _check_record(check: Check) -> dict[str, Any]:
    if check.skipped:
        return {"skipped": check.skipped}
    return {
        "max_difference": check.max_difference,
        "disagreement": check.disagreement,
        "samples": check.samples,
        "ok": check.ok,
        "accuracy": check.accuracy,
    }


def read_verdict(measured: LenientJson, tested: LenientJson) -> Verdict:
    """A verdict from its records in verify.json and test.json."""
    budget = read_budget(measured["budget"], measured["target"].text)
    budget = budget if budget.name else replace(budget, name=measured["name"].text)
    accuracy = tested["accuracy"]
    return Verdict(
        budget=budget,
        target=measured["target"].text,
        budget_s=measured["budget_s"].number or budget.latency_s,
        predicted_s=measured["predicted_s"].number,
        predicted_std_s=measured["predicted_std_s"].number,
        predicted_90_s=measured["predicted_90_s"].interval,
        probability_within=measured["probability_within"].number,
        measured_s=measured["measured_s"].number,
        upper_95_s=measured["upper_95_s"].number,
        contended=measured["contended"].flag or False,
        disturbed=measured["disturbed"].number,
        within_budget=measured["within_budget"].flag,
        reason=tested["reason"].text or measured["reason"].text,
        worst_case_s=measured["worst_case_s"].number,
        expected_s=measured["expected_s"].number,
        key=measured["key"].text,
        genome=measured["genome"].genome,
        exits=_exits(measured["exits"].items, tested["exits"].items),
        val_accuracy=measured["accuracy"]["val"].number,
        counts={name: item.number for name, item in measured["counts"].pairs.items()},
        energy_j=measured["energy_estimate_j"].number,
        no_energy=measured["energy_estimate_reason"].text,
        memory_bytes=measured["peak_memory_estimate_bytes"].number,
        attempts=tuple(map(_attempt, measured["attempts"].items)),
        files=tuple(item.text for item in measured["files"].items),
        sha256={name: item.text for name, item in measured["sha256"].pairs.items()},
        # What broke its budget is not kept, whatever else a file says.
        kept=False if tested and measured["within_budget"].flag is False else tested["kept"].flag,
        before_export=accuracy["test_before_export"].number,
        test_accuracy=accuracy["test_exported"].number,
        interval=accuracy["interval"].interval,
        test_images=accuracy["images"].number,
        balanced_accuracy=accuracy["balanced"].number,
        classes=tuple(map(_class, tested["classes"].items)),
        checks=tuple(_check(name, item) for name, item in tested["parity"].pairs.items()),
        tvm_s=tested["tvm_s"].number,
        p95_s=measured["single_calls"]["p95_s"].number,
        p99_s=measured["single_calls"]["p99_s"].number,
        single_calls=measured["single_calls"]["calls"].number,
        every_s=measured["single_calls"]["every_s"].number,
        single_refused=measured["single_calls"]["refused"].text,
        over_images=measured["single_calls"]["over_images"].flag or False,
        distribution=_distribution(measured["single_calls"]),
    )


def _exits(measured: Sequence[LenientJson], tested: Sequence[LenientJson]) -> tuple[ExitRow, ...]:
    padded = [*tested, *[LenientJson()] * (len(measured) - len(tested))]
    return tuple(
        ExitRow(
            was["name"].text,
            was["reach_s"].number,
            was["rate"].number,
            was["threshold"].number,
            now["accuracy"].number,
            now["interval"].interval,
            now["test_rate"].number,
        )
        for was, now in zip(measured, padded, strict=False)
    )


def _distribution(record: LenientJson) -> tuple[tuple[float, float], ...]:
    """Shares and seconds as far as there are both; () in verdicts of releases that had none."""
    pairs = zip(record["shares"].items, record["seconds"].items, strict=False)
    numbers = ((share.number, seconds.number) for share, seconds in pairs)
    return tuple((share, seconds) for share, seconds in numbers if share is not None and seconds is not None)


def _class(record: LenientJson) -> ClassRow:
    images = record["images"].number or 0.0
    return ClassRow(record["name"].text, images, record["recall"].number, record["interval"].interval)


def _check(name: str, record: LenientJson) -> Check:
    return Check(
        name,
        record["max_difference"].number,
        record["disagreement"].number,
        record["samples"].number,
        record["ok"].flag,
        record["skipped"].text,
        record["accuracy"].number,
    )


def _attempt(record: LenientJson) -> Attempt:
    return Attempt(
        record["key"].text,
        record["purpose"].text,
        record["predicted_s"].number,
        record["measured_s"].number,
        record["kept"].flag,
    )
