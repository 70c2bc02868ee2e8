"""The trials, in the order in which they are run."""

from . import clock, descriptors, fallback, kills, load, neighbours, reload, soak, storage

TRIALS = (*load.TRIALS, *descriptors.TRIALS, *reload.TRIALS, *clock.TRIALS, *fallback.TRIALS,
          *neighbours.TRIALS, *storage.TRIALS, *kills.TRIALS, *soak.TRIALS)
