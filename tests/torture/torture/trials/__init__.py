"""The trials, in the order in which they are run."""

from . import reload, soak

TRIALS = (*reload.TRIALS, *soak.TRIALS)
