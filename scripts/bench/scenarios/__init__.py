"""What is measured, in the order in which it is."""

from . import cache, dnsbl, engine, held, known, new, workers

SCENARIOS = (*known.SCENARIOS, *new.SCENARIOS, *dnsbl.SCENARIOS, *engine.SCENARIOS,
             *held.SCENARIOS, *cache.SCENARIOS, *workers.SCENARIOS)
