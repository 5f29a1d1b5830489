"""How many sockets a web process may have: a stream takes two, and many systems start a process with 1,024."""

import resource

ENOUGH = 65_536


def allow_many() -> int:
    """Raise the soft limit of open files as far as the hard one allows; return what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(ENOUGH, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
