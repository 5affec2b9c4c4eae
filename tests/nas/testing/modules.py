"""Modules as somebody else writes them, for `nas check` and for whole runs."""

from __future__ import annotations

#: A latency model that satisfies the protocol and derives from nothing of ours; one has tables and one has none.
LATENCY = '''
import json
from pathlib import Path

import numpy as np

from hardware_profiles import Target
from latency_models.additive import compile
from latency_models.base import ErrorBar, stack
from latency_models.errors import UnpricedOperator
from search_spaces.operators import VIEWS
from search_spaces.passes import op_class


class Untabled:
    """Seconds by multiply-adds and calls, times one factor that is fitted."""

    def __init__(self, profile, target, *, overhead: float = 1e-5):
        speed = None if profile is None else profile.peak(target.dtype, target.threads)
        self.target, self._numbers = target, {"speed": speed, "overhead": overhead, "logs": []}

    @property
    def error(self):
        logs = self._numbers["logs"]
        return ErrorBar(float(np.std(logs)) + 0.05 if logs else 0.5, len(logs))

    @property
    def factor(self):
        return float(np.exp(np.mean(self._numbers["logs"] or [0.0])))

    def _bare(self, network):
        for op in network.ops:
            try:
                op.kind in VIEWS or op_class(network, op)
            except KeyError:
                raise UnpricedOperator(op.name, op.kind, "untabled", self.target) from None
        macs = [network.cumulative(k).macs for k in range(len(network.exits))]
        return np.diff(macs, prepend=0) / self._numbers["speed"] + self._numbers["overhead"]

    def predict(self, networks):
        means = [self.factor * self._bare(network) for network in networks]
        return stack(means, [self.error.relative**2 * np.outer(mean, mean) for mean in means])

    def fit(self, networks, cumulative_s):
        logs = []
        for network, seconds in zip(networks, np.asarray(cumulative_s)):
            reach = np.cumsum(self._bare(network))
            known = np.isfinite(seconds[: len(reach)])
            logs.append(float(np.log(seconds[: len(reach)][known] / reach[known]).mean()))
        return self._with({**self._numbers, "logs": self._numbers["logs"] + logs})

    def _with(self, numbers):
        other = type(self)(None, self.target)
        other._numbers = numbers
        return other

    def save(self, file):
        data = json.dumps({"numbers": self._numbers, "target": vars_of(self.target)}).encode()
        Path(file).write_bytes(data) if isinstance(file, str | Path) else file.write(data)

    @classmethod
    def load(cls, file):
        data = json.loads(Path(file).read_bytes() if isinstance(file, str | Path) else file.read())
        return cls(None, Target(**data["target"]))._with(data["numbers"])

    def additive(self, space):
        return None


class Tabled(Untabled):
    """The same, as tables over a space."""

    decision_s = 0.0

    @property
    def call_s(self):
        return self.factor * self._numbers["overhead"]

    def body_s(self, networks):
        return np.array([(self.factor * self._bare(n)).sum() - len(n.exits) * self.call_s for n in networks])

    def additive(self, space):
        return compile(space, self)


def vars_of(target):
    return {name: getattr(target, name) for name in target.__dataclass_fields__}


class Documented:
    """What the protocol asked for before: a target and predictions."""

    def __init__(self, profile, target):
        self._model = Untabled(profile, target)
        self.target = target

    def predict(self, networks):
        return self._model.predict(networks)


class Nameless(Untabled):
    """It does not say its error."""

    error = property()


class Free(Untabled):
    """Nothing is unknown to it."""

    def _bare(self, network):
        macs = [sum(op.size for op in network.ops[: index + 1]) for index in network.exits]
        return np.diff(macs, prepend=0) / self._numbers["speed"] + self._numbers["overhead"]


class Forgetful(Untabled):
    """What it learned is in its class, so that another process does not have it."""

    learned = {}

    def save(self, file):
        self.learned[self.target.key] = self._numbers["logs"]
        other = self._with({**self._numbers, "logs": []})
        Untabled.save(other, file)

    @classmethod
    def load(cls, file):
        found = super().load(file)
        return found._with({**found._numbers, "logs": cls.learned.get(found.target.key, [])})


class Overconfident(Tabled):
    """Its tables leave the call out."""

    call_s = 0.0
'''

SEARCHERS = '''
import numpy as np

from nas.searchers.base import least_violation
from nas.searchers.random import RandomSearch
from nas.searchers.feasibility_filter import FeasibilityFilter


class Silent:
    wants_prior = False

    def __init__(self, problem):
        pass

    def ask(self, n):
        return None

    def tell(self, genomes, values, violation):
        pass


class Raising(Silent):
    def ask(self, n):
        raise TypeError("unhashable type: 'list'")


class Deaf:
    wants_prior = False

    def __init__(self, problem):
        pass

    def ask(self, n):
        return np.zeros((0, 1), int)


class Unsaid(RandomSearch):
    wants_prior = None


class Wanting(RandomSearch):
    wants_prior = True


class Repeating(RandomSearch):
    def __init__(self, problem):
        self.problem, self.rng = problem, np.random.default_rng(problem.seed)

    def ask(self, n):
        return self.problem.canonical(self.rng.integers(3, size=(n, len(self.problem.sizes))))

    def tell(self, genomes, values, violation):
        pass


class Asked(RandomSearch):
    """Its state follows from what was asked, so that a torn batch is lost."""

    def __init__(self, problem):
        super().__init__(problem)
        self.problem, self.filter, self.asked = problem, FeasibilityFilter(problem), 0

    def ask(self, n):
        self.asked += 1
        rng = np.random.default_rng((self.problem.seed, self.asked))
        draw = lambda rng, many, attempt: rng.integers(self.problem.sizes, size=(many, len(self.problem.sizes)))
        return self.filter.propose(rng, n, [draw])

    def tell(self, genomes, values, violation):
        self.filter.add(genomes)


class Careless(RandomSearch):
    """It asks for what no budget allows."""

    def __init__(self, problem):
        super().__init__(problem)
        self.problem, self.filter = problem, FeasibilityFilter(problem)

    def ask(self, n):
        draw = lambda rng, many, attempt: rng.integers(self.problem.sizes, size=(many, len(self.problem.sizes)))
        return self.filter.propose(self.filter.generator(), n, [draw], anywhere=True)

    def tell(self, genomes, values, violation):
        self.filter.add(genomes)
'''
