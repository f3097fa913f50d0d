"""Adaptive rounding: integers whose errors cancel out in what a layer computes.

What rounding one weight changes of the output, the weights that are rounded after it take back, as
far as their inputs go along with its input. The squared error of an output channel is e H e', e the
errors of its weights and H the mean products of the inputs. With H = U D U', U upper triangular
with ones on its diagonal, it is the sum of D[j] (e[j] + sum over i < j of e[i] U[i, j])^2, and each
term in turn is made as small as one integer can make it. This is what OBQ and GPTQ compute (E.
Frantar et al., 2022), without the inverse of H. Sweeps over single weights follow.
"""

import numpy as np

from furiosa_ep.quantization.accuracy.statistics import LayerStatistics
from furiosa_ep.quantization.weights import LIMIT, Floats, Layer, QuantizedWeight, along

_DAMPING = 1e-3
"""Of the mean square of inputs, added to all: samples never tell of all inputs."""
_BLOCK = 64
_SWEEPS = 2


def adapt_rounding(
    layer: Layer,
    weight: Floats,
    nearest: QuantizedWeight,
    statistics: LayerStatistics,
    *,
    centered: bool = True,
) -> QuantizedWeight:
    """Other integers for the same scales; those of `nearest` where none are better.

    `centered` leaves the mean of the error out of account, which a bias takes back. The error of
    each output channel, over the positions that were looked at, is no greater than before.
    """
    products = error_products(statistics, centered=centered)
    if products is None or not products.any():
        return nearest
    scale = along(nearest.scale.astype(np.float64), nearest.axis, weight.ndim)
    steps = np.ascontiguousarray(layer.rows(weight / scale), np.float32)  # weights in steps
    order = np.argsort(-np.einsum("gdd->d", products), kind="stable")
    sorted_products = products[:, order[:, None], order]
    plain = np.ascontiguousarray(layer.rows(nearest.integers), np.float32)
    before = _errors(steps - plain, products)
    damped = sorted_products + _damping(products)
    found = _rounded(steps[:, :, order], damped)
    found = _swept(steps[:, :, order], found, damped)
    integers = np.empty_like(found)
    integers[:, :, order] = found
    better = _errors(steps - integers, products) < before
    chosen = np.where(better[:, :, None], integers, plain).astype(np.int8)
    return QuantizedWeight(layer.from_rows(chosen), nearest.scale, nearest.axis)


def error_products(statistics: LayerStatistics, *, centered: bool) -> Floats | None:
    """The matrix H of each group, with the noise of the inputs; None where it is unknown."""
    if statistics.product is None:
        return None
    products = statistics.product.copy()
    if centered:
        mean = statistics.mean.astype(np.float32)
        products -= mean[:, :, None] * mean[:, None, :]
    depth = np.arange(products.shape[1])
    products[:, depth, depth] = np.maximum(products[:, depth, depth], 0) + statistics.noise
    return products


def _damping(products: Floats) -> Floats:
    """A part of the mean of the diagonal, for each group."""
    diagonal = np.einsum("gdd->gd", products)
    level = np.maximum(diagonal.mean(1), diagonal.mean() * 1e-3) * _DAMPING
    found: Floats = (level[:, None, None] * np.eye(products.shape[1])).astype(np.float32)
    return found


def _factor(products: Floats) -> Floats:
    """U of H = U D U'. Digits are few, for any U gives integers, and these are judged by H."""
    identity = np.eye(products.shape[1], dtype=np.float32)
    for damping in 0, 1e-3, 1e-2, 1e-1:
        level = np.einsum("gdd->g", products) / products.shape[1] * damping
        try:
            lower = np.linalg.cholesky(products[:, ::-1, ::-1] + level[:, None, None] * identity)
        except np.linalg.LinAlgError:
            continue
        upper = lower[:, ::-1, ::-1]
        found: Floats = upper / np.einsum("gdd->gd", upper)[:, None, :]
        return found
    return np.broadcast_to(identity, products.shape)


def _rounded(steps: Floats, products: Floats) -> Floats:
    """One column after the other, each with what the columns before it leave to take back."""
    upper, depth = _factor(products), steps.shape[2]
    integers, errors = np.empty_like(steps), np.zeros_like(steps)
    for start in range(0, depth, _BLOCK):
        block = slice(start, min(start + _BLOCK, depth))
        wanted = steps[:, :, block] + errors[:, :, :start] @ upper[:, :start, block]
        for j in range(block.stop - start):
            column = start + j
            integers[:, :, column] = np.rint(wanted[:, :, j]).clip(-LIMIT, LIMIT)
            errors[:, :, column] = steps[:, :, column] - integers[:, :, column]
            wanted[:, :, j + 1 :] += (
                errors[:, :, column, None] * upper[:, None, column, column + 1 : block.stop]
            )
    return integers


def _swept(steps: Floats, integers: Floats, products: Floats) -> Floats:
    """Each column at its best for the others as they are, some times over."""
    errors = steps - integers
    depth = steps.shape[2]
    for _ in range(_SWEEPS):
        for start in range(0, depth, _BLOCK):
            block = slice(start, min(start + _BLOCK, depth))
            slopes = errors @ products[:, :, block]
            for j in range(block.stop - start):
                column = start + j
                own = products[:, column, column, None]
                wanted = steps[:, :, column] - errors[:, :, column] + slopes[:, :, j] / own
                error = steps[:, :, column] - np.rint(wanted).clip(-LIMIT, LIMIT)
                change = error - errors[:, :, column]
                errors[:, :, column] = error
                slopes += change[:, :, None] * products[:, None, column, block]
    return np.rint(steps - errors)


def _errors(errors: Floats, products: Floats) -> Floats:
    """The mean squared error of each output channel, in its steps."""
    found: Floats = np.einsum("god,god->go", errors @ products, errors)
    return found
