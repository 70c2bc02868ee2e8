"""The driver of `make bench`: postscreen(8), Gatepost and the floor, measured in turn.

Every measurement has a private Postfix instance of its own: the installed Postfix's programs
and defaults under a real master(8), in namespaces (tests/conformance/harness). What stands
around the program under test is benches/visits: clients, smtpd(8), the log service.

    options     the command line
    plan        what a scenario is: figures, cases, settings
    scenarios/  what is measured
    rounds      outside the namespaces: makes instances, runs cases, collects figures
    prepare     the files of an instance
    caches      verdict caches that are there before the program starts
    inside      inside the namespaces: starts everything, runs one case
    world       what a case can do: load, counters, memory, system calls
    standins    the processes around the program
    processes   processor time and memory of the program's processes
    tables      medians, ratios, and how they are written
    machine     a description of this machine
"""
