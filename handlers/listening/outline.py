"""The outline of a sound, for drawing it beside what was heard in it."""

from __future__ import annotations

from handlers.hearing import SOUND, Form, Listened
from handlers.pictures.outline import Outline, Outliner


def _begin(form: Form) -> Outliner:
    return Outliner(round(form.rate))


OUTLINE: Listened[Outline] = Listened("outline", version=1, stage=SOUND, begin=_begin)
"""Extremes and RMS over time, for `handlers.pictures.plots.Wave`."""
