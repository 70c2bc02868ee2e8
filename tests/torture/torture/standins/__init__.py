"""What stands in for the neighbours of the program, and fails as it is told to.

All of them live in one thread with an event loop (neighbourhood), and change their manner while
clients are under way.

    neighbourhood   the thread
    service         a listening UNIX socket that can be missing or full
    smtpd           smtpd(8)
    tlsproxy        tlsproxy(8)
    proxymap        proxymap(8)
    name_server     who is asked about DNS blocklists
    log             a log service at /dev/log
    visitors        clients that do what those of benches/visits do not
"""
