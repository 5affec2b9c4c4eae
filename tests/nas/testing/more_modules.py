"""More modules as somebody else writes them: optimisers and a space."""

from __future__ import annotations

OPTIMISERS = '''
import numpy as np

from nas.optimisers.differentiable import Differentiable, Search


class Sound(Differentiable):
    def __init__(self):
        super().__init__(steps=40)


class Loose(Sound):
    """It proposes what does not keep the limit."""

    def begin(self, problem, cost, limit_s):
        return super().begin(problem, cost, 2 * limit_s)


class Amnesic(Sound):
    """Its state holds nothing."""

    def begin(self, problem, cost, limit_s):
        found = Forgetting(self, problem, cost, limit_s)
        return found


class Forgetting(Search):
    def state(self):
        return {"nothing": np.zeros(1)}

    def restore(self, state):
        pass


class Wordy(Sound):
    """Its samples are lists."""

    def begin(self, problem, cost, limit_s):
        return Listing(self, problem, cost, limit_s)


class Listing(Search):
    def sample(self, step):
        return super().sample(step).tolist()
'''

#: Attention whose number of heads is a choice of operators, with a batch norm over the heads.
HEADS = """
from search_spaces.mobile import conv_bn, linear_exit
from search_spaces.staged import Stage, StagedSpace


def _attention(b, name, x, width, stride, activation, options):
    heads = options["heads"]
    x = conv_bn(b, f"{name}.in", x, width, 1, activation, stride)
    _, height, length = b.shape(x)
    shape = (heads, width // heads, height * length)
    query, key, value = (
        b("reshape", f"{name}.{part}.heads", conv_bn(b, f"{name}.{part}", x, width, 1), shape=shape)
        for part in ("query", "key", "value")
    )
    scores = b("matmul", f"{name}.scores", b("transpose", f"{name}.turned", query, perm=(0, 2, 1)), key)
    scores = b("softmax", f"{name}.softmax", b("batch_norm", f"{name}.norm", scores), axis=-1)
    mixed = b("matmul", f"{name}.mixed", value, b("transpose", f"{name}.back", scores, perm=(0, 2, 1)))
    return b("reshape", f"{name}.joined", mixed, shape=(width, height, length))


def attention(input_shape, classes, width: int = 8):
    return StagedSpace(
        name="attention",
        input_shape=tuple(input_shape),
        classes=classes,
        stages=(Stage((width,), (1,), 4, {"heads": (1, 2)}), Stage((2 * width,), (1,), 2, {"heads": (1, 2)})),
        stem=lambda b, x: conv_bn(b, "stem.conv", x, width, 3, "relu", 2),
        block=_attention,
        exit_head=linear_exit,
        final_head=lambda b, x, classes: linear_exit(b, "final", x, classes),
        operator_choice=("heads",),
        max_exits=1,
    )
"""
