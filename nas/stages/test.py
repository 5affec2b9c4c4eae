"""Test: settle what was verified, once no latency will change the choice any more.

Compares JAX, ONNX Runtime and TVM on the same images, reads the test labels, once per verification, and writes
test.json.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import HOST, Target
from nas.config.budget import Budget
from nas.deploy import manifest, thresholds
from nas.deploy.parity import compare_exits
from nas.deploy.tvm import TVM_FAILURES
from nas.devices.base import Session, Wanted
from nas.devices.local import InProcess
from nas.devices.runners import runner_for
from nas.devices.timing.cascades import filled
from nas.errors import InputError
from nas.exits.base import ExitPolicy
from nas.exits.intervals import wilson
from nas.exits.thresholds import exit_index
from nas.process.machine import breathe, computing
from nas.run.artefacts import built_for, compiled_beside, is_as_measured, plan_of, require_exported, shipped, why_no_tvm
from nas.run.context import Context
from nas.run.measurements import measured
from nas.run.verdict import Check, ClassRow, ExitRow, Verdict, Verdicts
from nas.run.verdict_files import load_verdicts, write_tested
from nas.run.winners import Winner, chosen_key, files_of, load_network, standing
from nas.tasks.image_classification.balance import balanced_accuracy, hits_by_class
from nas.tasks.image_classification.source import Source

Logits = NDArray[np.float32]
#: The runtime that answers for accuracy: the models run on it everywhere.
_HERE: Final = "onnxruntime"


def is_settled(context: Context) -> bool:
    """Whether this run was verified to the end, with the networks that are chosen now, and their files.

    What could not be measured the last time leaves it open, and so does a broken budget until that was tested.
    """
    verdicts = load_verdicts(context.files)
    known = {verdict.name: verdict for verdict in verdicts.winners}
    kept = verdicts.tried > 0 and all(verdict.within_budget for verdict in verdicts.winners)
    return (verdicts.tested or kept) and all(
        _is_settled(context, budget, known.get(budget.name)) for budget in context.experiment.budgets
    )


def verified_before(context: Context) -> tuple[Mapping[str, str | None] | None, int]:
    """The choices that were verified last and not tested yet, by budget, and how many were verified since a test.

    None and 0 where the run begins to choose, and where some winner could not be measured, which it may be now.
    """
    verdicts = load_verdicts(context.files)
    if verdicts.tested or not verdicts.tried or any(each.within_budget is None for each in verdicts.winners):
        return None, 0
    keys = {verdict.name: verdict.key for verdict in verdicts.winners}
    chosen = {budget.name: keys.get(budget.name) for budget in context.experiment.budgets}
    return chosen, verdicts.tried


def _is_settled(context: Context, budget: Budget, verdict: Verdict | None) -> bool:
    rows = measured(context, budget)
    if verdict is None:
        lost = any(row.refused and row.budget == budget.name for row in rows.values())
        return chosen_key(context, budget) is None and not lost
    if verdict.within_budget and verdict.key in rows and budget.name in rows[verdict.key].broken:
        return False
    if verdict.within_budget is None and context.device(context.experiment.target_of(budget)) is not None:
        return False
    return chosen_key(context, budget) == verdict.key and is_as_measured(context.files.winner(budget.name), verdict)


def test_winners(context: Context) -> Verdicts:
    """Compare the runtimes, read the test labels once, and settle what was verified."""
    verdicts = load_verdicts(context.files)
    if not verdicts.found:
        name = context.files.verify.name
        raise InputError(f"{context.run.path} has no {name} yet; run `nas verify {context.run.path}`")
    if not verdicts.tested:
        winners, _ = standing(context)
        tested = tuple(_test(context, winners[verdict.name], verdict) for verdict in verdicts.winners)
        kept = not verdicts.unmet and all(verdict.kept is True for verdict in tested)
        verdicts = replace(verdicts, winners=tested, tested=True, kept=kept)
        write_tested(context.files, verdicts)
        for verdict in tested:
            missed = [repr(each.name) for each in verdict.classes if each.recall == 0]
            if missed:
                context.voice.warning(
                    f"{verdict.name}: no test image of {len(missed)} of {len(verdict.classes)} classes is recognised: "
                    f"{', '.join(missed[:3])}{', ...' if len(missed) > 3 else ''}"
                )
    return verdicts


def _test(context: Context, winner: Winner, verdict: Verdict) -> Verdict:
    """Parity and test accuracy of a winner; a network whose artefact answers differently is no winner."""
    from nas.nn.static import network_logits

    found, folder = require_exported(context, winner), files_of(context, winner).root
    target = context.experiment.target_of(winner.budget)
    images, prepare = context.data.raw_images("test"), context.data.preprocessing.apply
    settings = context.experiment.verify
    chosen = context.order("test")[: max(settings.parity_samples, settings.samples)]
    few = prepare(images[chosen])
    here = Target(HOST, _HERE, target.threads, target.batch)
    with computing(), InProcess(here).open({"": shipped(context, winner, here)}) as session:
        exported = _logits(session, images, prepare, target.batch)
        whole = np.stack(runner_for(here).load(folder / found.model)(few), axis=1)
        jax_logits = network_logits(*load_network(context, winner), images, prepare)
    labels, settled = context.data.test_labels(), thresholds.read(folder, found.architecture, len(found.exits))
    policy = context.experiment.policy
    compared = _Compared(jax_logits[chosen], labels[chosen], policy, settled)
    both = compared.check("onnxruntime", exported[chosen]), compared.check("whole_model", whole)
    own = _by_its_runner(context, winner, few, compared)
    tvm, tvm_s = _tvm(context, winner, found, few, compared)
    checks = (*both, *own, *tvm)
    wrong = [check.runtime for check in checks if check.ok is False]
    right, leaving = _answers(policy, exported, settled, labels)
    before, _ = _answers(policy, jax_logits, settled, labels)
    return replace(
        verdict,
        kept=False if wrong else verdict.within_budget,
        reason=f"{wrong[0]} answers differently from JAX: see parity" if wrong else verdict.reason,
        before_export=float(before.mean()),
        test_accuracy=float(right.mean()),
        interval=wilson(int(right.sum()), len(right)),
        test_images=len(right),
        balanced_accuracy=balanced_accuracy(right, labels),
        classes=_classes(right, labels, context.data.raw.class_names),
        checks=checks,
        tvm_s=tvm_s,
        exits=tuple(
            _exit(row, exported[:, position].argmax(-1) == labels, leaving == position)
            for position, row in enumerate(verdict.exits)
        ),
    )


def _exit(row: ExitRow, hits: NDArray[np.bool_], leaving: NDArray[np.bool_]) -> ExitRow:
    interval = wilson(int(hits.sum()), len(hits))
    return replace(row, accuracy=float(hits.mean()), interval=interval, test_rate=float(leaving.mean()))


def _classes(right: NDArray[np.bool_], labels: NDArray[np.int32], names: Sequence[str]) -> tuple[ClassRow, ...]:
    hits, counts = (row.tolist() for row in hits_by_class(right, labels, len(names)))
    return tuple(
        ClassRow(name, n, hit / n if n else None, wilson(hit, n) if n else None)
        for name, hit, n in zip(names, hits, counts, strict=True)
    )


def _answers(
    policy: ExitPolicy, logits: Logits, settled: Sequence[float], labels: NDArray[np.int32]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Whether each image is answered rightly under the thresholds, and at which exit."""
    leaving = exit_index(settled, policy.scores({"logits": logits}))
    return logits[np.arange(len(logits)), leaving].argmax(-1) == labels, leaving


def _logits(
    session: Session, images: Source, prepare: Callable[[NDArray[Any]], NDArray[np.float32]], batch: int
) -> Logits:
    """Logits [n, exits, classes] of images as the data has them, by the artefact "" that is open, a batch a call."""
    parts = []
    for begin in range(0, len(images), batch):
        some = prepare(images[begin : begin + batch])
        count = len(some)
        whole = np.concatenate([some, np.repeat(some[-1:], batch - count, axis=0)])
        parts.append(np.stack(session.run_all("", whole), axis=1)[:count])
        breathe()
    return np.concatenate(parts)


@dataclass(frozen=True, eq=False)
class _Compared:
    """What artefacts are compared with: JAX's logits [n, exits, classes] of some images, and what is right."""

    reference: Logits
    labels: NDArray[np.int32]
    policy: ExitPolicy
    settled: Sequence[float]

    def check(self, runtime: str, other: Logits) -> Check:
        """The worst of all exits, and the accuracy on these images under the thresholds."""
        exits, reference = range(other.shape[1]), self.reference[: len(other)]
        pairs = {"a": [reference[:, k] for k in exits], "b": [other[:, k] for k in exits]}
        compared = compare_exits(pairs)["b"]
        worst = max(compared, key=lambda found: found.relative)
        right, _ = _answers(self.policy, other, self.settled, self.labels[: len(other)])
        return Check(
            runtime,
            max_difference=worst.relative,
            disagreement=max(found.changed for found in compared) / worst.samples,
            samples=worst.samples,
            ok=all(found.same for found in compared),
            accuracy=float(right.mean()),
        )


def _tvm(
    context: Context, winner: Winner, found: manifest.Manifest, images: Logits, compared: _Compared
) -> tuple[tuple[Check, ...], float | None]:
    """Parity of the TVM libraries, in this process and through an RPC server on loopback, and what they take."""
    from nas.devices.loopback import Loopback

    target = compiled_beside(context.experiment.target_of(winner.budget))
    if built_for(target) not in found.libraries:
        reason = why_no_tvm(context, winner.budget)
        return (Check("tvm", skipped=reason), Check("tvm_rpc", skipped=reason)), None
    libraries = {"": shipped(context, winner, target)}
    try:
        with InProcess(target).open(libraries) as session:
            with computing():
                answers = [_each(session, image, target.batch) for image in images]
            inside = compared.check("tvm", np.concatenate(answers))
            plan = replace(plan_of(context, target), block_s=0.05)
            wanted = Wanted("", winner.trial.genome, len(found.exits))
            last = session.time([wanted], [images[:1]], plan)[""].to_exits[-1]
    except TVM_FAILURES as error:
        # TVM went away since the export, or is another one; what the verdict is about runs without it.
        reason = f"TVM failed: {error}"
        return (Check("tvm", skipped=reason), Check("tvm_rpc", skipped=reason)), None
    try:
        with Loopback(target).open(libraries) as session:
            remotely = compared.check("tvm_rpc", _each(session, images[0], target.batch))
    except TVM_FAILURES as error:
        remotely = Check("tvm_rpc", skipped=f"TVM failed: {error}")
    return (inside, remotely), None if last.refused else last.median_s


def _by_its_runner(context: Context, winner: Winner, images: Logits, compared: _Compared) -> tuple[Check, ...]:
    """Parity of what the budget was measured with, where that is another runtime than those compared anyway."""
    target = context.experiment.target_of(winner.budget)
    device = context.device(target)
    here = context.is_here(target)
    if device is None or (here and target.runner in (_HERE, compiled_beside(target).runner)):
        return ()
    with computing(), device.open({"": shipped(context, winner, target)}) as session:
        answers = np.concatenate([_each(session, image, target.batch) for image in images])
    return (compared.check(target.runner if here else f"{target.runner} on {target.device}", answers),)


def _each(session: Session, image: Logits, batch: int) -> Logits:
    """All exits' logits [1, exits, classes] of one prepared image, by the artefact "" that is open."""
    # What is compiled has a fixed batch, which one image fills.
    return np.stack([logits[:1] for logits in session.run_all("", filled(image[None], batch))], axis=1)
