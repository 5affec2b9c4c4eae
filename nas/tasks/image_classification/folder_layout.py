"""Which folders of a data set are its parts and its classes: understood, or refused with what to do.

A part is a folder of folders by the name of one (`train`, `Testing`, `valid`); a folder that holds images itself is a
class.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from nas.errors import InputError
from nas.tasks.image_classification.folder_tree import SUFFIXES, Tree

Role: TypeAlias = Literal["train", "val", "test"]

EXPECTED: Final = (
    "Expected PATH/<class>/<image> or PATH/train/<class>/<image> with PATH/test (or PATH/val)/<class>/<image>"
)
_ROLES: Final[dict[Role, tuple[str, ...]]] = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "validate", "dev", "development", "eval", "evaluation"),
    "test": ("test", "tests", "testing", "tst", "holdout"),
}
#: What may stand behind the name of a part without a gap: trainset, TestData, valImages.
_BEHIND: Final = re.compile(r"(sets?|data|images?|imgs?|split|part)$")


@dataclass(frozen=True)
class Layout:
    """Folders whose folders are classes: those of the training part and those of the test part, which may be none."""

    train: tuple[Path, ...]
    test: tuple[Path, ...]
    notes: tuple[str, ...]


def role(name: str) -> Role | None:
    """The part that a folder of this name holds, which is its name but for case, digits, and `set` or `data` behind."""
    letters = re.sub(r"[^a-z]", "", name.casefold())
    while True:
        for found, names in _ROLES.items():
            if letters in names:
                return found
        shorter = _BEHIND.sub("", letters)
        if shorter == letters:
            return None
        letters = shorter


def _role_of_parts(folder: Path) -> Role | None:
    """The same of a folder that holds folders: one word of its name is enough, as in seg_train."""
    words = (role(word) for word in re.findall(r"[a-z]+", folder.name.casefold()))
    return role(folder.name) or next((found for found in words if found), None)


def layout(root: Path, tree: Tree) -> Layout:
    """The parts of a data set; raises InputError for folders that could be meant in more than one way."""
    notes = []
    holding = _holding(root, tree)
    if len(holding) == 1 and any(_role_of_parts(inner) == "train" for inner in _parts(holding[0], tree)):
        notes.append(f"{holding[0].name} is the only folder with images, and its folders are taken for the parts")
        [root] = holding
        holding = _holding(root, tree)
    parts = _parts(root, tree)
    if not parts:
        return Layout((root,), (), (*notes, *_of_classes(root, holding, tree)))
    chosen, said = _assigned(root, parts)
    rest = [folder.name for folder in holding if folder not in parts]
    vague = [folder.name for folder in parts if role(folder.name) is None]
    if (rest and vague) or any(tree.read(folder).images for folder in parts if folder.name in vague):
        raise InputError(
            f"{root}: {_names(vague)} may be a part by its name, or a class like {_names(rest or vague)}; name the "
            f"parts train and test alone, or move the images of a class into its folder. {EXPECTED}"
        )
    if rest:
        said.append(f"images in {_names(rest)} beside {chosen['train'][0].name} are not used")
    train = tuple(_checked(folder, tree, said) for folder in chosen["train"])
    test = tuple(_checked(folder, tree, said) for folder in chosen["test"])
    return Layout(train, test, (*notes, *said))


def classes(folder: Path, tree: Tree) -> tuple[str, ...]:
    """The names of the classes in a part."""
    return tuple(sorted(each.name for each in tree.read(folder).folders))


def _holding(folder: Path, tree: Tree) -> list[Path]:
    return [each for each in tree.read(folder).folders if tree.holds_images(each)]


def _parts(folder: Path, tree: Tree) -> list[Path]:
    """Folders in a folder that have the name of a part, and hold folders of classes and not images."""
    return [
        each
        for each in tree.read(folder).folders
        if _role_of_parts(each) and (not tree.read(each).images or len(_holding(each, tree)) > 1)
    ]


def _branches(folder: Path, tree: Tree) -> list[Path]:
    """The folders with images in a folder that has none itself, or in the only one that it holds; none in a class."""
    found = [folder]
    while len(found) == 1 and not tree.read(found[0]).images:
        found = _holding(found[0], tree)
    return found if len(found) > 1 else []


def _assigned(root: Path, parts: Sequence[Path]) -> tuple[dict[Role, list[Path]], list[str]]:
    """Which folder is which part, and what was decided."""
    chosen: dict[Role, list[Path]] = {"train": [], "val": [], "test": []}
    for folder in parts:
        if (found := _role_of_parts(folder)) is not None:
            chosen[found].append(folder)
    train, val, test = chosen["train"], chosen["val"], chosen["test"]
    for part, folders in (("training", train), ("test", test)):
        if len(folders) > 1:
            names = _names([folder.name for folder in folders])
            raise InputError(f"{root}: {names} have the name of a {part} part; move their images into one folder")
    if not train:
        raise InputError(
            f"{root}: named as parts are {_names([folder.name for folder in parts])}, and none is the training part: "
            f"name it train, or give folders of classes other names. {EXPECTED}"
        )
    said = []
    if not test and len(val) > 1:
        names = _names([folder.name for folder in val])
        raise InputError(f"{root}: any of {names} could be the test part; name that one test")
    if not test and val:
        said.append(f"{val[0].name} is the test part, since there is no other")
        return {"train": train, "val": [], "test": val}, said
    for folder in val:
        said.append(f"{folder.name} joins the training part; a run takes its own validation images from there")
    return {"train": [*train, *val], "val": [], "test": test}, said


def _classes_in(part: Path, tree: Tree, said: list[str]) -> Path:
    """The folder that holds the classes of a part: itself, or the only folder in it, such as train/train or train/x."""
    holding = _holding(part, tree)
    if len(holding) != 1 or tree.read(part).images or tree.read(holding[0]).images:
        return part
    if len(_holding(holding[0], tree)) < 2:
        return part
    said.append(f"{part.name}/{holding[0].name} is the only folder there, and its folders are the classes")
    return holding[0]


def _checked(part: Path, tree: Tree, said: list[str]) -> Path:
    """The folder that holds the classes of a part, which are checked as those of a data set without parts are."""
    folder = _classes_in(part, tree, said)
    holding = _holding(folder, tree)
    if len(holding) > 1:
        said += _of_classes(folder, holding, tree)
    return folder


def _of_classes(root: Path, holding: Sequence[Path], tree: Tree) -> list[str]:
    """Check folders that are taken for classes; gives what is to be said of them."""
    notes = []
    named = [folder.name for folder in holding if role(folder.name)]
    others = [folder.name for folder in holding if not role(folder.name)]
    # Tickets may be valid or invalid, and vehicles trains; test images without classes are common beside classes.
    if named and (not others or any(role(name) == "test" for name in named)):
        raise InputError(
            f"{root}: named as parts are {_names(named)}, which hold images and not folders of classes; sort them into "
            f"such folders, or give other names to what is a class. {EXPECTED}"
        )
    for name in named:
        notes.append(f"{name} holds images itself, so it is taken for a class")
    inside = {folder: names for folder in holding if (names := [each.name for each in _branches(folder, tree)])}
    for folder, names in inside.items():
        if {"train", "test"} <= {"test" if found == "val" else found for found in map(role, names)}:
            raise InputError(
                f"{folder}: the class holds {_names(names)}, which have the name of parts; put the classes into the "
                f"parts, not the parts into the classes. {EXPECTED}"
            )
    if len(holding) == 1 and inside:
        raise InputError(
            f"{root}: holds one folder with images, {holding[0].name!r}; if its folders are the classes, give "
            f"{holding[0]} as the path. {EXPECTED}"
        )
    same = sorted(set.intersection(*map(set, inside.values()))) if len(inside) == len(holding) > 1 else []
    if len(same) > 1:
        raise InputError(
            f"{root}: {_names([folder.name for folder in holding])} hold no images, but each of them the folders "
            f"{_names(same)}: if these are the classes, name the parts train and test; if not, move the images up. "
            f"{EXPECTED}"
        )
    if inside:
        several = _names([folder.name for folder in inside])
        notes.append(f"{several} hold no images but folders, and each is one class with all that is below it")
    return notes


def _names(names: Sequence[str]) -> str:
    shown = [repr(name) for name in names[:4]] + (["..."] if len(names) > 4 else [])
    return ", ".join(shown[:-1]) + (" and " if len(shown) > 1 else "") + shown[-1]


def labelled(folders: Sequence[Path], names: Sequence[str], tree: Tree) -> list[tuple[Path, int]]:
    """Every image below the classes `names` of some parts with its class number, sorted by path."""
    images = []
    for folder in folders:
        unknown = [name for name in classes(folder, tree) if name not in names and tree.holds_images(folder / name)]
        if unknown:
            raise InputError(
                f"{folder / unknown[0]}: {unknown[0]!r} is no class of the training part, which has {len(names)}: "
                f"{', '.join(names[:8])}{', ...' if len(names) > 8 else ''}. {EXPECTED}"
            )
        for number, name in enumerate(names):
            if (folder / name) in tree.read(folder).folders:
                images += [(image, number) for below in tree.below(folder / name) for image in below.images]
    return sorted(images)


def left_alone(folders: Sequence[Path], tree: Tree) -> list[str]:
    """What of some parts is not used, with the number of it and an example."""
    beside = [image for folder in folders for image in tree.read(folder).images]
    below = [each for folder in folders for each in tree.below(folder)]
    others = [file for each in below for file in each.others]
    hidden = [path for each in below for path in each.hidden if tree.holds_images(path)]
    said = []
    for found, what in (
        (beside, "images beside the folders of classes are not used"),
        (others, "files that are no images were ignored"),
        (hidden, "images in hidden folders are not used"),
        (sorted(tree.repeated), "links lead to folders that were read already"),
    ):
        if found:
            said.append(f"{what} ({len(found)}, such as {found[0]})")
    return said


def no_images(part: Path) -> InputError:
    """What to raise where a part holds none."""
    return InputError(f"{part}: holds no images. {EXPECTED}; images are {', '.join(sorted(SUFFIXES))}")
