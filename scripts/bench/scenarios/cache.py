"""Large verdict caches."""
SCENARIOS = ()
