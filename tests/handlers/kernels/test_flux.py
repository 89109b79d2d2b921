import numpy as np

from handlers.kernels.flux import balance, bands, rises


def spectra(frames=9, bins=65, seed=1):
    rng = np.random.default_rng(seed)
    made = rng.standard_normal((frames, bins)) + 1j * rng.standard_normal((frames, bins))
    return made.astype(np.complex64)


def test_bands_are_weighted_sums_of_magnitudes_or_of_their_roots():
    given = spectra()
    matrix = np.zeros((65, 3))
    matrix[2:5, 0], matrix[4:20, 1], matrix[40:41, 2] = 0.5, 1.5, 2.0
    first, ends = np.array([2, 4, 40]), np.array([3, 19, 20])
    weights = np.repeat(np.float32([0.5, 1.5, 2.0]), [3, 16, 1])
    for root in (False, True):
        found = np.empty((9, 3), np.float32)
        bands(given.view(np.float32), first, ends, weights, root, found)
        sizes = np.sqrt(np.abs(given)) if root else np.abs(given)
        assert np.allclose(found, sizes @ matrix, rtol=1e-5)


def test_rises_are_counted_against_the_highest_neighbour_two_frames_before():
    size = np.abs(spectra(12, 10)).astype(np.float32) ** 6
    found = np.empty((2, 10), np.float32)
    rises(size, 7.0, 2, np.array([4, 10]), found)
    level = np.log10(1 + 7.0 * size.astype(np.float64))
    padded = np.pad(level, ((0, 0), (1, 1)))
    before = np.max([padded[:-2, k : k + 10] for k in range(3)], axis=0)
    rise = np.maximum(level[2:] - before, 0)
    truth = np.stack([rise[:, :4].sum(axis=1), rise[:, 4:].sum(axis=1)])
    assert np.allclose(found, truth, atol=2e-6)


def test_the_balance_of_a_spectrum_is_its_sum_and_its_moment():
    given = spectra()
    found = np.empty((9, 2), np.float32)
    balance(given.view(np.float32), found)
    sizes = np.abs(given)
    truth = np.stack([sizes.sum(axis=1), sizes @ np.arange(65)], axis=1)
    assert np.allclose(found, truth, rtol=1e-5)
