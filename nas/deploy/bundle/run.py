"""Classify images with this folder's network: python run.py images.npy

Needs Python 3.8, numpy and onnxruntime, and the files beside it. The array holds one image or several, uint8 or float,
channels first; --hwc for channels last. Each line says the number of the image, its class, how the exit policy scores
the answer, the exit, and milliseconds.
A network exported for calls of several samples is given the image as often: the milliseconds are those of such a call.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import sys
import time
import zlib
from contextlib import contextmanager
from tokenize import TokenError
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as refusals

if TYPE_CHECKING:
    from collections.abc import Iterator

sys.dont_write_bytecode = True  # the folder holds what was exported, and nothing else
FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, FOLDER)

# They lie in this folder where it is exported, and are found once the path is set.
from cascade import Cascade  # type: ignore[import-not-found]  # noqa: E402 (see above)
from preprocessing import Preprocessing  # type: ignore[import-not-found]  # noqa: E402 (see above)

#: What ONNX Runtime calls where a network was measured.
PROVIDERS = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
#: What comes of reading and trying what is damaged: JSON, arrays, names, and what a runtime is then asked for.
_DAMAGED = (
    OSError, ValueError, TypeError, AttributeError, IndexError, EOFError, BadZipFile, ImportError, ArithmeticError,
    MemoryError, RuntimeError, SyntaxError, TokenError, refusals.Fail, refusals.InvalidArgument, refusals.InvalidGraph,
    refusals.InvalidProtobuf, refusals.NotImplemented, refusals.RuntimeException,
)  # fmt: skip


class Unusable(Exception):
    """A file cannot be used; one line that says which, and why."""


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn what goes wrong while a file is understood into `Unusable`, with its name."""
    try:
        yield
    except KeyError as error:
        raise Unusable(f"{name} lacks {error.args[0]!r}") from error
    except _DAMAGED as error:
        said = str(error).strip().split("\n")[0]
        raise Unusable(f"{name} cannot be used: {said or type(error).__name__}") from error


def checked(name: str, manifest: dict[str, Any]) -> bytes:
    """The content of a file, if it is the one that was exported."""
    with open(os.path.join(FOLDER, name), "rb") as file:
        data = file.read()
    if hashlib.sha256(data).hexdigest() != manifest["artefacts"][name]["sha256"]:
        raise Unusable(f"{name} is not the file that was exported: its SHA-256 differs from manifest.json")
    return data


def record(name: str) -> dict[str, Any]:
    """A JSON object of the folder, if it is what was written; edited on purpose, it is without its checksum."""
    with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
        found = json.load(file)
    if not isinstance(found, dict):
        raise ValueError("it is not a JSON object")
    written = found.pop("@crc32", None)
    if written is not None and written != f"{zlib.crc32(json.dumps(found, separators=(',', ':')).encode()):08x}":
        raise ValueError("it is not what was written: its @crc32 is of another content; whoever edits takes it out")
    return found


def thresholds(architecture: str, early: int) -> list[float | None]:
    """One per early exit, None where it never answers; without their file only the last exit answers."""
    if not os.path.exists(os.path.join(FOLDER, "thresholds.json")):
        return [None] * early
    about = record("thresholds.json")
    found = [None if value is None else float(value) for value in about["thresholds"]]
    if about["architecture"] != architecture or len(found) != early:
        raise Unusable("thresholds.json is of another network than manifest.json")
    return found


def loaded(threads: int) -> tuple[Preprocessing, Cascade, Any, int]:
    """What prepares images, the segments ready to run, the exit policy, and the samples that they take at once."""
    with reading("manifest.json"):
        manifest = record("manifest.json")
        prepare = Preprocessing.from_dict(manifest["preprocessing"])
        exits = manifest["exits"]
        policy = getattr(importlib.import_module("policy"), manifest["policy"]["class"])
        policy = policy(**manifest["policy"]["arguments"])
        architecture, early = manifest["architecture"], len(exits) - 1
        takes, gives = [e["takes"] for e in exits], [e["outputs"] for e in exits]
        provider = (manifest.get("targets") or [{}])[0].get("provider", "cpu")  # older releases knew none
        programs = [program(checked(e["file"], manifest), e["outputs"], threads, provider) for e in exits]
        batch = programs[0][1]
    with reading("thresholds.json"):
        leaving = thresholds(architecture, early)
    with reading("manifest.json"):
        return prepare, Cascade([run for run, _ in programs], takes, gives, leaving, policy), policy, batch


def pictures(path: str, channels: int, hwc: bool) -> Any:
    """The images of a file, [n, channels, height, width]."""
    with reading(path):
        found = np.load(path, allow_pickle=False)
        if not isinstance(found, np.ndarray):
            raise ValueError("it holds several arrays, and it must be one: a .npy file")
        if not found.ndim:
            raise ValueError("it holds a single number, and no image")
        images = np.moveaxis(found, -1, -3) if hwc and found.ndim > 2 and found.shape[-1] == channels else found
        # One grey image or several, with or without their channel.
        if channels == 1 and images.ndim in (2, 3) and not (images.ndim == 3 and len(images) == 1):
            images = images.reshape((-1, 1, *images.shape[-2:]))
        elif images.ndim == 3:
            images = images[None]
        if not images.size:
            raise ValueError(f"it holds no image: its shape is {found.shape}")
    return images


def program(data: bytes, outputs: list[str], threads: int, provider: str) -> Any:
    """A function that runs one segment on ONNX Runtime, and the samples it takes at once."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    if threads == 1:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    wanted = [*([] if provider == "cpu" else [PROVIDERS[provider]]), "CPUExecutionProvider"]
    if wanted[0] not in onnxruntime.get_available_providers():
        raise Unusable(f"this network was measured with {provider}, and onnxruntime here has no {wanted[0]}")
    session = onnxruntime.InferenceSession(data, options, providers=wanted)
    inputs = [value.name for value in session.get_inputs()]
    batch = session.get_inputs()[0].shape[0]
    return (lambda *arrays: session.run(outputs, dict(zip(inputs, arrays)))), batch  # noqa: B905 (new in 3.10)


def classify(cascade: Any, batch: int, image: Any) -> tuple[Any, int]:
    """The logits that answer an image [1, ...], and the exit they come from."""
    if batch == 1:
        logits, number = cascade(image)
        return logits, number
    # Samples of a call cannot leave at different exits, so all of it is run.
    answers = [logits[:1] for logits in cascade.run_all(np.repeat(image, batch, axis=0))]
    number = cascade.decide(answers)
    cascade.answers = answers[: number + 1]
    return answers[number], number


def main() -> None:
    """Read the arguments, load the segments, classify; 2 is the exit status where something cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", help="a .npy file: [C,H,W] or [n,C,H,W]; [H,W] or [n,H,W] with one channel")
    parser.add_argument("--hwc", action="store_true", help="channels last")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.threads < 1:
        parser.error(f"--threads {arguments.threads}: give a whole number of at least 1")
    try:
        prepare, cascade, policy, batch = loaded(arguments.threads)
        images = pictures(arguments.images, prepare.channels, arguments.hwc)
        with reading(arguments.images):
            first = prepare.apply(images[:1])
        with reading("manifest.json"):
            # The first run of a segment sets up its memory, and tells whether the segments are what is described.
            classes = classify(cascade, batch, first)[0].shape[-1]
            if len(prepare.class_names) != classes:
                raise ValueError(f"it names {len(prepare.class_names)} classes, and the network tells {classes} apart")
    except Unusable as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    for number, image in enumerate(images):
        start = time.perf_counter()
        logits, number_of_exit = classify(cascade, batch, prepare.apply(image[None]))
        spent = time.perf_counter() - start
        name = prepare.class_names[int(logits.argmax())]
        score = policy.scores({"logits": np.stack(cascade.answers, axis=1)})[0, -1]
        print(f"{number}  {name}  {score:.4f}  exit {number_of_exit}  {spent * 1e3:.3f} ms")


if __name__ == "__main__":
    main()
