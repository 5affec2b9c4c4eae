"""LightNAS's architecture step with its published constants, on an additive proxy; a baseline of lightnas_budget.py.

After the description of the method (arXiv 2208.14446) and the constants of github.com/stepbuystep/LightNAS: Gumbel
straight-through samples at a temperature of 5 exp(-0.1 epoch), Adam for alpha, lambda by ascent on the violation of the
network of the largest alpha, cut to zero where its sign contradicts the violation, and alpha's rate tied to the
violation in the last ten epochs once 0.15 ms from the target has been seen. All runs advance together.
"""

from __future__ import annotations

from typing import Any

import numpy as np

EPOCHS, STEPS = 80, 40
Array = np.ndarray[Any, np.dtype[np.float64]]


def published_logits(utility: Array, table_s: Array, bias_s: float, limits_s: Array, noise: float, seed: int) -> Array:
    """The alphas [runs, layers, operators] that runs with utilities [runs, layers, operators] and limits [runs] end at.

    Only the sampled operator of a layer has a gradient of the loss, with noise as in lightnas_budget.py; the latency
    term's gradient is exact for all operators.
    """
    rng = np.random.default_rng((seed, 1))
    deviation = noise * utility.std(axis=2).mean(axis=1)[:, None, None]
    limit = limits_s[:, None, None]
    alpha = np.asarray(1e-3 * rng.normal(size=utility.shape))
    first, second = np.zeros_like(alpha), np.zeros_like(alpha)
    price, settled = np.zeros(len(alpha)), np.zeros(len(alpha), np.bool_)
    rate = np.full(len(alpha), 1e-3)
    for epoch in range(EPOCHS):
        tau, scheduled = 5 * np.exp(-0.1 * epoch), 1e-3 * 0.5 ** (epoch // 20)
        last = EPOCHS - epoch <= 10
        if not last:
            rate[:] = scheduled
        for step in range(STEPS):
            noisy = (alpha + rng.gumbel(size=alpha.shape)) / tau
            soft = np.exp(noisy - noisy.max(axis=2, keepdims=True))
            soft /= soft.sum(axis=2, keepdims=True)
            hard = noisy == noisy.max(axis=2, keepdims=True)
            by_choice = hard * (-utility + deviation * rng.normal(size=alpha.shape))
            by_choice = by_choice + price[:, None, None] * table_s / limit
            gradient = soft * (by_choice - (soft * by_choice).sum(axis=2, keepdims=True)) / tau + 1e-3 * alpha
            first = 0.5 * first + 0.5 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            count = epoch * STEPS + step + 1
            moved = first / (1 - 0.5**count) / (np.sqrt(second / (1 - 0.999**count)) + 1e-8)
            alpha = alpha - rate[:, None, None] * moved
            chosen = alpha.argmax(axis=2)
            seconds = bias_s + np.take_along_axis(np.broadcast_to(table_s, alpha.shape), chosen[..., None], 2).sum(
                (1, 2)
            )
            violation = seconds / limits_s - 1
            price = price + 5e-4 * violation
            if last:
                settled |= np.abs(seconds - limits_s) < 0.15e-3
                rate = np.where(settled, scheduled * np.abs(violation), rate)
            price = np.where(violation * price < 0, 0.0, price)
    return alpha
