"""More than one worker."""
SCENARIOS = ()
