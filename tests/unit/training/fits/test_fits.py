"""Fits: equal to numpy's decompositions of the whole, whatever batches the rows came in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.config import ModelConfig, parse_config, parse_method
from app.errors import ConfigInvalid, Unacceptable
from app.layers import orthonormality_error
from app.training.fits import FITS, Accumulator, FitMethod, Fitted, read_method
from app.types import Batch, FloatArray, SeenMoments
from tests.checks.layers import check_docstring
from tests.unit.training.examples import one_thread

__all__ = ["one_thread"]

WIDTH, COMPONENTS = 12, 4
ROWS = (
    np.random.default_rng(0).standard_normal((300, WIDTH)) * np.logspace(0, -1, WIDTH) + 0.3
).astype(np.float32)
OTHERS = (ROWS + 0.2 * np.random.default_rng(1).standard_normal(ROWS.shape)).astype(np.float32)
Matrix = NDArray[np.float64]


def make_config(**layer: Any) -> ModelConfig:
    declared = {"type": "QRReduction", "n_components": COMPONENTS, **layer}
    return parse_config({"input_size": WIDTH, "layers": [declared], "recipe": "plain"})


def seen(*batches: Batch, method: object = "pca", config: ModelConfig | None = None) -> SeenMoments:
    accumulator = Accumulator(config or make_config(bias=True), parse_method(method))
    for batch in batches:
        accumulator.add(batch)
    return accumulator.moments()


def fitted(rows: FloatArray, method: object = "pca", components: int = COMPONENTS) -> Fitted:
    moments = seen(Batch(hidden_states=rows), method=method)
    return read_method(parse_method(method)).fitted(moments, components)


def split(rows: FloatArray, cuts: list[int]) -> list[Batch]:
    return [Batch(hidden_states=part) for part in np.split(rows, sorted(cuts)) if len(part)]


def leading(rows: Matrix, components: int = COMPONENTS) -> Matrix:
    """Right singular vectors, the largest entry of each positive."""
    directions: Matrix = np.linalg.svd(rows, full_matrices=False)[2][:components]
    largest = np.abs(directions).argmax(axis=1)
    signs: Matrix = np.sign(directions[np.arange(len(directions)), largest])
    return directions * signs[:, None]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, len(ROWS) - 1), max_size=40))
def test_pca_equals_numpys_svd_for_any_split_into_batches(cuts: list[int]) -> None:
    method = read_method(parse_method("pca"))
    made = method.fitted(seen(*split(ROWS, cuts)), COMPONENTS)
    np.testing.assert_allclose(made.weight, leading(ROWS.astype(float)), rtol=0, atol=1e-6)


def test_batches_of_one_row_give_what_one_batch_gives() -> None:
    one_by_one = read_method(parse_method("pca")).fitted(
        seen(*split(ROWS, list(range(1, len(ROWS))))), COMPONENTS
    )
    np.testing.assert_allclose(one_by_one.weight, fitted(ROWS).weight, rtol=0, atol=1e-6)


def test_leading_dimensions_are_rows() -> None:
    moments = seen(Batch(hidden_states=ROWS.reshape(3, 4, 25, WIDTH)), Batch(hidden_states=ROWS[0]))
    assert (moments.vectors, moments.num_pairs, moments.pairs) == (301, 0, None)


def test_explained_variance_is_the_share_of_the_squared_singular_values() -> None:
    energies = np.linalg.svd(ROWS.astype(float), compute_uv=False) ** 2
    expected = energies[:COMPONENTS].sum() / energies.sum()
    assert fitted(ROWS).explained_variance == pytest.approx(expected, rel=1e-9)


def test_no_more_than_everything_is_explained() -> None:
    # Of one row all is captured, and rounding would say a little more than all.
    shares = [fitted(ROWS[number : number + 1]).explained_variance for number in range(len(ROWS))]
    assert max(shares) <= 1
    assert min(shares) == pytest.approx(1)


def test_centring_subtracts_the_mean_by_the_bias() -> None:
    made = fitted(ROWS, {"type": "pca", "center": True})
    centred = ROWS - ROWS.mean(axis=0, dtype=float)
    np.testing.assert_allclose(made.weight, leading(centred), rtol=0, atol=1e-6)
    reduced = ROWS @ made.weight.numpy().T + made.bias.numpy()
    np.testing.assert_allclose(reduced, centred @ leading(centred).T, rtol=0, atol=1e-5)


def test_without_centring_the_bias_is_zero() -> None:
    assert fitted(ROWS).bias.count_nonzero() == 0


@pytest.mark.parametrize(
    ("method", "power"),
    [("whitening", 1.0), ({"type": "pca", "whiten": True}, 1.0), ("half_whitening", 0.5)],
    ids=str,
)
def test_whitening_scales_components_to_a_power_of_their_variance(
    method: object, power: float
) -> None:
    reduced = ROWS @ fitted(ROWS, method).weight.numpy().T
    spread = reduced.T.astype(float) @ reduced / len(ROWS)
    expected = (np.linalg.svd(ROWS.astype(float), compute_uv=False)[:COMPONENTS] ** 2) / len(ROWS)
    np.testing.assert_allclose(spread, np.diag(expected ** (1 - power)), rtol=0, atol=1e-5)


def test_pair_lda_solves_its_generalised_eigenproblem() -> None:
    method = read_method(parse_method({"type": "pair_lda", "regularization": 0.5}))
    moments = seen(Batch(hidden_states=ROWS, positives=OTHERS), method="pair_lda")
    weight = method.fitted(moments, COMPONENTS).weight.numpy().astype(float)
    both, half = np.concatenate([ROWS, OTHERS]).astype(float), (ROWS - OTHERS).astype(float) / 2
    second, within = both.T @ both / len(both), half.T @ half / len(half)
    within += 0.5 * np.trace(within) / WIDTH * np.eye(WIDTH)
    ratios = np.linalg.eigvals(np.linalg.solve(within, second)).real
    expected = np.diag(np.sort(ratios)[::-1][:COMPONENTS])
    np.testing.assert_allclose(weight @ within @ weight.T, np.eye(COMPONENTS), rtol=0, atol=1e-5)
    np.testing.assert_allclose(weight @ second @ weight.T, expected, rtol=1e-5, atol=1e-4)


def test_pair_lda_with_much_regularization_spans_what_pca_spans() -> None:
    batch = Batch(hidden_states=ROWS, positives=OTHERS)
    spans = []
    for declared in ({"type": "pair_lda", "regularization": 1e6}, "pca"):
        moments = seen(batch, method=declared)
        weight = read_method(parse_method(declared)).fitted(moments, COMPONENTS).weight.numpy()
        basis = np.linalg.qr(weight.T.astype(float))[0]
        spans.append(basis @ basis.T)
    np.testing.assert_allclose(spans[0], spans[1], rtol=0, atol=1e-4)


def test_both_sides_of_a_pair_are_vectors() -> None:
    paired = seen(Batch(hidden_states=ROWS, positives=OTHERS))
    apart = seen(Batch(hidden_states=ROWS), Batch(hidden_states=OTHERS))
    assert (paired.vectors, paired.num_pairs, apart.num_pairs) == (600, 300, 0)
    np.testing.assert_allclose(paired.second, apart.second, rtol=1e-12)
    np.testing.assert_allclose(paired.total, apart.total, rtol=1e-12)


@pytest.mark.parametrize("rows", [1, 2, COMPONENTS])
@pytest.mark.parametrize("method", list(FITS))
def test_fewer_rows_than_components_give_finite_weights_of_full_rank(
    method: str, rows: int
) -> None:
    batch = Batch(hidden_states=ROWS[:rows], positives=OTHERS[:rows])
    made = read_method(parse_method(method)).fitted(seen(batch, method=method), COMPONENTS)
    assert np.linalg.matrix_rank(made.weight.numpy().astype(float)) == COMPONENTS
    if method == "pca":
        assert orthonormality_error(made.weight) < 1e-6


@pytest.mark.parametrize("method", list(FITS))
def test_rows_of_zeros_give_finite_weights(method: str) -> None:
    batch = Batch(hidden_states=0 * ROWS, positives=0 * ROWS)
    made = read_method(parse_method(method)).fitted(seen(batch, method=method), COMPONENTS)
    assert np.isfinite(made.weight.numpy()).all()
    assert made.explained_variance == 0


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_directions_do_not_depend_on_the_scale(scale: float) -> None:
    rows = ROWS * np.float32(scale)
    np.testing.assert_allclose(fitted(rows).weight, fitted(ROWS).weight, rtol=0, atol=1e-6)


def test_normalized_rows_count_alike_whatever_their_length() -> None:
    lengths = np.random.default_rng(3).uniform(0.1, 100, (len(ROWS), 1)).astype(np.float32)
    method = {"type": "pca", "normalize": True}
    unit = ROWS / np.linalg.norm(ROWS.astype(float), axis=1, keepdims=True)
    np.testing.assert_allclose(
        fitted(ROWS * lengths, method).weight, leading(unit), rtol=0, atol=1e-5
    )


def test_signs_do_not_depend_on_the_signs_of_the_rows() -> None:
    assert np.array_equal(fitted(ROWS).weight, fitted(-ROWS).weight)


@pytest.mark.parametrize("member", FITS.values(), ids=list(FITS))
def test_member_has_a_docstring(member: type[FitMethod]) -> None:
    check_docstring(member)


def test_registry_holds_what_is_documented() -> None:
    assert list(FITS) == ["half_whitening", "pair_lda", "pca", "whitening"]


ONE_MORE = [{"type": "ReLU"}, {"type": "QRReduction", "n_components": 2}]
REFUSED: dict[str, tuple[object, dict[str, Any], str]] = {
    "unknown": ("ica", {}, "/method"),
    "unknown argument": ({"type": "pca", "k": 3}, {}, "/method/k"),
    "another kind": ({"type": "pca", "center": 1}, {}, "/method/center"),
    "out of bounds": ({"type": "pair_lda", "regularization": 0}, {}, "/method/regularization"),
    "no bias to centre by": ({"type": "pca", "center": True}, {}, "/method/center"),
    "two layers": ("pca", {"layers": ONE_MORE}, "/method"),
    "another layer": ("pca", {"layers": [{"type": "Gaussian", "n_components": 2}]}, "/method"),
    "rows of tokens": ("pca", {"input_shape": [None, WIDTH]}, "/method"),
    "too wide": ("pca", {"input_size": 8193}, "/method"),
}


@pytest.mark.parametrize(("method", "changes", "pointer"), REFUSED.values(), ids=REFUSED)
def test_a_fit_that_cannot_be_is_refused_before_a_row_is_taken(
    method: object, changes: dict[str, Any], pointer: str
) -> None:
    document = {**make_config().model_dump(), **changes}
    with pytest.raises(ConfigInvalid) as refusal:
        Accumulator(parse_config(document), parse_method(method))
    assert refusal.value.pointer == pointer


@pytest.mark.parametrize(
    ("batch", "method", "code", "pointer"),
    [
        (Batch(hidden_states=ROWS), "pair_lda", "missing_field", "/positives"),
        (Batch(hidden_states=ROWS, positives=ROWS[:9]), "pca", "shape_mismatch", "/positives"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(
    batch: Batch, method: str, code: str, pointer: str
) -> None:
    with pytest.raises(Unacceptable) as refusal:
        seen(batch, method=method)
    assert (refusal.value.code, refusal.value.pointer) == (code, pointer)


def test_nothing_seen_is_refused() -> None:
    with pytest.raises(Unacceptable, match="at least one row"):
        seen()


def test_wide_vectors_are_summed_in_single_precision() -> None:
    rows = np.random.default_rng(4).standard_normal((5, 2049), dtype=np.float32)
    config = parse_config(
        {"input_size": 2049, "layers": [{"type": "QRReduction", "n_components": 2}]}
    )
    moments = seen(Batch(hidden_states=rows), config=config)
    assert [moments.second.dtype.name, moments.total.dtype.name] == ["float32", "float64"]
