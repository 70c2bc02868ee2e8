"""The trials, in the order in which they are run."""

from . import clock, fallback, reload, soak

TRIALS = (*reload.TRIALS, *clock.TRIALS, *fallback.TRIALS, *soak.TRIALS)
