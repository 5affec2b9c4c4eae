"""Images and labels: where they come from, how they are split, prepared, augmented and batched.

A data set in an experiment's YAML names an entry of `DATASETS`; its arguments are the loader's keyword
arguments. Every loader returns a `nas.data.dataset.RawData`.
"""

DATASETS: dict[str, str] = {
    "digits": "nas.data.digits:digits",
    "fashion_mnist": "nas.data.fashion_mnist:fashion_mnist",
    "cifar10": "nas.data.cifar:cifar10",
    "cifar100": "nas.data.cifar:cifar100",
    "image_folder": "nas.data.image_folder:image_folder",
    "npz": "nas.data.npz:npz",
}
