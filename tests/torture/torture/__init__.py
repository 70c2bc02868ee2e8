"""Trials: load and faults that must not hurt Gatepost, under a real master(8).

Every trial has a private Postfix instance of its own, in namespaces: the files come from the
harness of the conformance tests (tests/conformance/harness), load and stand-ins from the
benches (benches/visits, scripts/bench).

    cli         the command line, and what is reported
    plan        what a trial is: a setting, a size, figures
    prepare     the files of an instance
    inside      inside the namespaces: starts everything, runs one trial
    world       what a trial can do: load, faults, counters
    callers     a few clients, where it matters what exactly is said to whom
    trials/     the trials, a file for each subject
"""
