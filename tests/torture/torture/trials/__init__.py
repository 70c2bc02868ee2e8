"""The trials, in the order in which they are run."""

from . import clock, fallback, kills, reload, soak, storage

TRIALS = (*reload.TRIALS, *clock.TRIALS, *fallback.TRIALS, *storage.TRIALS, *kills.TRIALS,
          *soak.TRIALS)
