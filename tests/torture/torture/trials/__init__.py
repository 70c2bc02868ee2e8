"""The trials, in the order in which they are run."""

from . import reload

TRIALS = (*reload.TRIALS,)
