"""CIFAR's folders: read as Python 2 and 3 wrote them; nothing in them is ever executed."""

import os
import pickle
import struct
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.errors import InputError
from nas.tasks.image_classification.cifar import cifar10, cifar100
from nas.tasks.image_classification.safe_pickle import load_pickle

NAMES = ["airplane", "automobile", "bird", "cat"]
RNG = np.random.default_rng(0)
DATA = RNG.integers(0, 256, (48, 3072), np.uint8)
LABELS = [number % 4 for number in range(48)]


def save(file: Path, content: Any, protocol: int = 4) -> None:
    file.write_bytes(pickle.dumps(content, protocol))


def write_cifar10(folder: Path, protocol: int = 4) -> Path:
    save(folder / "batches.meta", {"label_names": NAMES, "num_vis": 3072}, protocol)
    for number in range(5):
        part = slice(number * 8, number * 8 + 8)
        save(folder / f"data_batch_{number + 1}", {"data": DATA[part], "labels": LABELS[part]}, protocol)
    save(folder / "test_batch", {"data": DATA[40:], "labels": LABELS[40:]}, protocol)
    return folder


def python2_pickle(data: Any, labels: list[int]) -> bytes:
    """What Python 2's cPickle wrote with protocol 2: strings of bytes, names of the numpy of that time."""

    def string(value: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(value)) + value

    def integers(*values: int) -> bytes:
        return b"".join(b"J" + struct.pack("<i", value) for value in values)

    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n"
        + integers(0) + b"\x85" + string(b"b") + b"tR"
        + b"(" + integers(1) + integers(*data.shape) + b"\x86"
        + b"cnumpy\ndtype\n(" + string(b"u1") + integers(0, 1) + b"tR"
        + b"(" + integers(3) + string(b"|") + b"NNN" + integers(-1, -1, 0) + b"tb"
        + b"\x89" + string(data.tobytes()) + b"tb"
    )  # fmt: skip
    return b"\x80\x02}(" + string(b"data") + array + string(b"labels") + b"](" + integers(*labels) + b"eu."


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_cifar10_is_read_whatever_the_protocol(tmp_path: Path, protocol: int) -> None:
    raw = cifar10(str(write_cifar10(tmp_path, protocol)))
    assert raw.augmentation.flip and raw.augmentation.cutout == 8
    np.testing.assert_array_equal(raw.train_x, DATA[:40].reshape(-1, 3, 32, 32))
    np.testing.assert_array_equal(raw.train_y, LABELS[:40])
    np.testing.assert_array_equal(raw.test_x, DATA[40:].reshape(-1, 3, 32, 32))
    assert raw.class_names == tuple(NAMES)
    assert raw.train_x.dtype == np.uint8
    assert raw.train_y.dtype == np.int32


def test_the_original_files_of_python_2_are_read(tmp_path: Path) -> None:
    folder = write_cifar10(tmp_path)
    (folder / "test_batch").write_bytes(python2_pickle(DATA[40:], LABELS[40:]))
    raw = cifar10(str(folder))
    np.testing.assert_array_equal(raw.test_x, DATA[40:].reshape(-1, 3, 32, 32))
    np.testing.assert_array_equal(raw.test_y, LABELS[40:])


def test_the_hand_made_pickle_is_one_that_python_reads() -> None:
    """Guards the test above: were `python2_pickle` wrong, our reader could be wrong in the same way."""
    with warnings.catch_warnings():
        # Some versions of numpy complain about the names and flags of the numpy of that time.
        warnings.simplefilter("ignore")
        record = pickle.loads(python2_pickle(DATA[40:], LABELS[40:]), encoding="latin1")
    assert record["labels"] == LABELS[40:]
    np.testing.assert_array_equal(record["data"], DATA[40:])


def test_the_folder_above_will_do_and_limit_holds(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    write_cifar10(tmp_path / "cifar-10-batches-py")
    raw = cifar10(str(tmp_path), limit=12)
    assert np.bincount(raw.train_y).tolist() == [3] * 4


def test_cifar100_has_fine_and_coarse_labels(tmp_path: Path) -> None:
    coarse = [label // 2 for label in LABELS]
    save(tmp_path / "meta", {"fine_label_names": NAMES, "coarse_label_names": ["vehicle", "animal"]})
    for name, part in (("train", slice(40)), ("test", slice(40, 48))):
        content = {"data": DATA[part], "fine_labels": LABELS[part], "coarse_labels": coarse[part]}
        save(tmp_path / name, content)
    fine, rough = cifar100(str(tmp_path)), cifar100(str(tmp_path), labels="coarse")
    assert (fine.class_names, rough.class_names) == (tuple(NAMES), ("vehicle", "animal"))
    np.testing.assert_array_equal(fine.train_y // 2, rough.train_y)
    np.testing.assert_array_equal(fine.train_x, rough.train_x)


BATCH = {"data": DATA[:8], "labels": LABELS[:8]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({**BATCH, "data": DATA[:8, :-1]}, r"'data' is uint8 \[8, 3071\]; expected uint8 \[images, 3072\]"),
        ({**BATCH, "data": DATA[:8].astype(np.float64)}, r"'data' is float64"),
        ({**BATCH, "data": DATA[:8].tolist()}, "'data' is list"),
        ({**BATCH, "labels": LABELS[:7]}, "7 labels for 8 images"),
        ({**BATCH, "labels": [0, 1, 2, 3, 0, 1, 2, 4]}, r"outside 0..3, the first is 4 at position 7"),
        ({**BATCH, "labels": ["0"] * 8}, "no list of class numbers"),
        ({**BATCH, "labels": [2**40] * 8}, "no list of class numbers"),
        ({"data": DATA[:8]}, "holds no 'labels'"),
        ({"images": DATA[:8]}, "holds no 'data' and no 'labels'"),
        ([1, 2], "holds no 'data'"),
    ],
)
def test_bad_batches_are_refused(tmp_path: Path, content: Any, message: str) -> None:
    save(write_cifar10(tmp_path) / "data_batch_3", content)
    with pytest.raises(InputError, match=f"data_batch_3: .*{message}"):
        cifar10(str(tmp_path))


def test_missing_names_files_and_folders_are_told(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    save(tmp_path / "batches.meta", {"label_names": [1, 2]})
    with pytest.raises(InputError, match=r"batches\.meta: 'label_names' is no list of names"):
        cifar10(str(tmp_path))
    (tmp_path / "batches.meta").unlink()
    with pytest.raises(InputError, match=r"batches\.meta: no such file. .*cifar-10|python version"):
        cifar10(str(tmp_path))
    with pytest.raises(
        InputError, match=r"nowhere: does not exist\. .*unpack it and give `path` its folder cifar-100-py"
    ):
        cifar100(str(tmp_path / "nowhere"))


class Attack:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("depth", ["alone", "inside"])
def test_a_pickle_that_would_run_a_command_is_refused_before_it_runs(tmp_path: Path, protocol: int, depth: str) -> None:
    marker = tmp_path / "executed"
    attack: Any = Attack(os.system, f"touch {marker}")
    save(write_cifar10(tmp_path) / "data_batch_1", attack if depth == "alone" else {**BATCH, "x": [attack]}, protocol)
    with pytest.raises(InputError, match=r"data_batch_1: refused, .* asks for (posix|os|nt)\.system.* not executed"):
        cifar10(str(tmp_path))
    assert not marker.exists()
    pickle.loads((tmp_path / "data_batch_1").read_bytes())
    assert marker.exists(), "the attack would not have worked anyway, so the test shows nothing"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(pickle.dumps(Attack(eval, "1+1")), id="eval"),
        pytest.param(pickle.dumps(Attack(getattr, {}, "keys")), id="getattr"),
        pytest.param(pickle.dumps(Attack(np.load, "x.npy")), id="numpy.load"),
        pytest.param(pickle.dumps(Path("x")), id="pathlib"),
        pytest.param(pickle.dumps(OrderedDict(a=1)), id="OrderedDict"),
        pytest.param(pickle.dumps(np.array([object], object)), id="object array"),
        pytest.param(pickle.dumps(np.array(["text"])), id="string array"),
        pytest.param(pickle.dumps(np.zeros(2, [("a", "u1")])), id="record array"),
        pytest.param(b"cbuiltins\nexec\n(S'1'\ntR.", id="exec"),
        pytest.param(b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00hextR.", id="other codec"),
        pytest.param(b"\x80\x04\x8c\x05numpy\x8c\x0fdtype.__class__\x93.", id="dotted name"),
    ],
)
def test_only_arrays_and_containers_are_allowed(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InputError, match="refused, because this pickle asks for"):
        load_pickle(tmp_path / "file", "")


def looped() -> bytes:
    loop: list[Any] = []
    loop.append(loop)
    return pickle.dumps(loop)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html></html>", id="text"),
        pytest.param(pickle.dumps(BATCH)[:-100], id="truncated"),
        pytest.param(pickle.dumps(BATCH).replace(b"\x4d\x00\x0c", b"\x4d\x01\x0c"), id="shape too large"),
        pytest.param(b"cnumpy\nndarray\n(tR.", id="calling the stand-in"),
        pytest.param(b"cnumpy.core.multiarray\n_reconstruct\n(tR.", id="array without content"),
        pytest.param(b"cnumpy.core.multiarray\n_reconstruct\n)\x81.", id="array never initialised"),
        pytest.param(b"cnumpy.core.multiarray\n_reconstruct\n(tRI1\nb.", id="array with a wrong state"),
        pytest.param(b"c_codecs\nencode\n(tR.", id="missing arguments"),
        pytest.param(b"Pname\n.", id="persistent id"),
        pytest.param(looped(), id="list within itself"),
    ],
)
def test_damaged_pickles_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InputError, match="is no pickle or a damaged one"):
        load_pickle(tmp_path / "file", "")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i4", "<f8", "?", ">f2"])
def test_arrays_come_back_as_they_were(tmp_path: Path, dtype: str, order: Any, protocol: int) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype, order=order)
    save(tmp_path / "file", {"a": (array, [b"bytes", "text", 1.5, None])}, protocol)
    back, others = load_pickle(tmp_path / "file", "")["a"]
    np.testing.assert_array_equal(back, array)
    assert back.dtype == array.dtype
    assert others == [b"bytes", "text", 1.5, None]
