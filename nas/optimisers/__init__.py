"""Optimisers: learn a distribution over the choices of a space from a loss, and derive networks that keep a budget."""

OPTIMISERS = {
    "differentiable": "nas.optimisers.differentiable:Differentiable",
    "loss_regression": "nas.optimisers.differentiable:ByLossRegression",
}
