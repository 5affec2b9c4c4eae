"""Images and labels: where they come from, how they are split, prepared, augmented and batched.

A data set in an experiment's YAML names an entry of `DATASETS`; its arguments are the loader's keyword
arguments. Every loader returns a `nas.tasks.image_classification.dataset.RawData`.
"""

DATASETS: dict[str, str] = {
    "digits": "nas.tasks.image_classification.digits:digits",
    "fashion_mnist": "nas.tasks.image_classification.fashion_mnist:fashion_mnist",
    "cifar10": "nas.tasks.image_classification.cifar:cifar10",
    "cifar100": "nas.tasks.image_classification.cifar:cifar100",
    "image_folder": "nas.tasks.image_classification.image_folder:image_folder",
    "npz": "nas.tasks.image_classification.npz:npz",
}
