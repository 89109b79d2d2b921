"""Which voices are one speaker's: how pyannote.audio's community-1 puts them together.

Voices that are near each other are first put together by distance; that is where a
Bayesian mixture (VBx without its chain) starts, in a space in which the difference between
speakers is told from that within one. Each voice of a window is then given to the nearest
speaker, no two of one window to the same.

Sources: Landini, Profant, Diez and Burget, "Bayesian HMM clustering of x-vector sequences
(VBx) in speaker diarization", Computer Speech & Language 71, 2022; pyannote.audio 4.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ENOUGH = 0.2
"""Share of a window in which a voice must be heard alone to say something about its speaker."""
_ROUNDS = 20
_CONVERGED = 1e-4
_SMOOTHING = 7.0
_NOBODY = 1e-7
"""A speaker to whom so little belongs is none."""


@dataclass(frozen=True)
class Space:
    """From where voices are (256) to where speakers are told apart."""

    first_mean: Floats
    second_mean: Floats
    discriminant: Floats
    middle: Floats
    whitening: Floats
    #: Variance between speakers along each axis, where that within one is 1.
    between: Floats

    @classmethod
    def read(cls, before: Mapping[str, Floats], model: Mapping[str, Floats]) -> Space:
        """From the arrays of `xvec_transform.npz` and `plda.npz`.

        Raises:
            KeyError, ValueError, LinAlgError: they are something else.
        """
        from scipy.linalg import eigh

        rows = model["tr"]
        within = np.linalg.inv(rows.T @ rows)
        between, axes = eigh(np.linalg.inv((rows.T / model["psi"]) @ rows), within)
        space = cls(
            before["mean1"],
            before["mean2"],
            before["lda"],
            model["mu"],
            np.ascontiguousarray(axes.T[::-1]),
            between[::-1],
        )
        size, small = space.discriminant.shape
        if (space.first_mean.shape, space.second_mean.shape) != ((size,), (small,)):
            raise ValueError(f"means of {space.first_mean.shape} and {space.second_mean.shape}")
        space(np.ones((1, size)))
        return space

    @property
    def size(self) -> int:
        """Dimensions of what goes in."""
        return int(self.discriminant.shape[0])

    def __call__(self, voices: Floats | NDArray[np.float32]) -> Floats:
        """`(voices, 256)` to `(voices, 128)`."""
        size, small = self.discriminant.shape
        found = np.sqrt(size) * _unit(voices - self.first_mean) @ self.discriminant
        found = np.sqrt(small) * _unit(found - self.second_mean)
        return np.asarray((found - self.middle) @ self.whitening.T)


@dataclass(frozen=True)
class Speakers:
    """Puts voices together."""

    space: Space
    #: Distance up to which voices are put together at first.
    threshold: float
    #: How much evidence counts, and how hard it is to be a speaker of one's own.
    evidence: float
    penalty: float

    def of(
        self,
        voices: NDArray[np.float32],
        heard: NDArray[np.uint8],
        fewest: int,
        most: float,
    ) -> NDArray[np.int64]:
        """The speaker of each voice of each window, `(windows, voices)`; -1 where it is silent.

        Args:
            voices: where they are, `(windows, voices, 256)`; anything where they are silent.
            heard: when, `(windows, frames, voices)`, 0 or 1.
            fewest: speakers, at least, where there is speech of so many.
            most: speakers, at most.
        """
        spoken: NDArray[np.bool_] = np.any(heard, axis=1)
        alone = np.asarray((heard * (heard.sum(axis=2, keepdims=True) == 1)).sum(axis=1))
        telling = (alone >= _ENOUGH * heard.shape[1]) & np.isfinite(voices).all(axis=2)
        given = voices[telling]
        if len(given) < 2:
            return np.where(spoken, 0, -1)
        centres, free = self._centres(given, fewest, most)
        return _assigned(voices, spoken, centres, free=free)

    def _centres(self, given: NDArray[np.float32], fewest: int, most: float) -> tuple[Floats, bool]:
        """Where each speaker is, and whether two voices of a window may be the same one."""
        from scipy.cluster.hierarchy import fcluster, linkage

        unit = given / np.linalg.norm(given, axis=1, keepdims=True)
        tree = linkage(unit, method="centroid", metric="euclidean")
        _, first = np.unique(
            fcluster(tree, self.threshold, criterion="distance"), return_inverse=True
        )
        shares = self._mixture(self.space(given), first)
        centres = shares.T @ given / shares.sum(0)[:, None]
        wanted = int(min(max(len(centres), fewest), most, len(given)))
        if wanted == len(centres):
            return centres, False
        from sklearn.cluster import KMeans

        member = KMeans(n_clusters=wanted, n_init=3, random_state=42).fit_predict(unit)
        return np.stack([given[member == k].mean(axis=0) for k in range(wanted)]), True

    def _mixture(self, points: Floats, first: NDArray[np.int64]) -> Floats:
        """How much of each point belongs to each speaker, `(points, speakers)`."""
        from scipy.special import logsumexp, softmax

        between = self.space.between
        ratio = self.evidence / self.penalty
        shares = softmax(_SMOOTHING * np.eye(first.max() + 1)[first], axis=1)
        prior = np.full(shares.shape[1], 1 / shares.shape[1])
        scaled = points * np.sqrt(between)
        constant = -0.5 * ((points**2).sum(1, keepdims=True) + points.shape[1] * np.log(2 * np.pi))
        bound = -np.inf
        for _ in range(_ROUNDS):
            precise = 1 / (1 + ratio * shares.sum(0)[:, None] * between)
            means = ratio * precise * (shares.T @ scaled)
            fit = scaled @ means.T - 0.5 * (precise + means**2) @ between + constant
            fit = self.evidence * fit + np.log(prior + 1e-8)
            total = logsumexp(fit, axis=1)
            shares = np.exp(fit - total[:, None])
            prior = shares.sum(0) / shares.sum()
            last, bound = (
                bound,
                float(
                    total.sum()
                    + self.penalty * 0.5 * (np.log(precise) - precise - means**2 + 1).sum()
                ),
            )
            if bound - last < _CONVERGED:
                break
        return np.asarray(shares[:, prior > _NOBODY])


def _assigned(
    voices: NDArray[np.float32], spoken: NDArray[np.bool_], centres: Floats, *, free: bool
) -> NDArray[np.int64]:
    from scipy.optimize import linear_sum_assignment

    with np.errstate(invalid="ignore", divide="ignore"):
        likeness = _unit(voices.astype(np.float64)) @ _unit(centres).T
    likeness[~np.isfinite(likeness)] = -1.0
    if free:
        return np.where(spoken, likeness.argmax(axis=2), -1)
    # Whoever is silent must not take a speaker from whoever is heard.
    likeness[~spoken] = -3.0
    found = np.full(spoken.shape, -1, np.int64)
    for window, alike in enumerate(likeness):
        # Where there are fewer speakers than voices, some voices get none.
        rows, columns = linear_sum_assignment(alike, maximize=True)
        found[window, rows] = columns
    return np.where(spoken, found, -1)


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))
