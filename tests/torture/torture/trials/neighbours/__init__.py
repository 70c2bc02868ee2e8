"""Neighbours fail: smtpd(8), tlsproxy(8), name servers, the log service, master(8), proxymap(8);
each under load, and all of them at random.

    town        the program among stand-ins, under a mixed load
    smtpd, tls, names, logs, tables, master     a neighbour each
    any_moment  random neighbours, faults and moments
"""

from . import any_moment, logs, master, names, smtpd, tables, tls

TRIALS = (*smtpd.TRIALS, *tls.TRIALS, *names.TRIALS, *logs.TRIALS, *tables.TRIALS,
          *master.TRIALS, *any_moment.TRIALS)
