"""The trials, in the order in which they are run."""

from . import fallback, reload, soak

TRIALS = (*reload.TRIALS, *fallback.TRIALS, *soak.TRIALS)
