"""The two kinds of failure that a person can meet, and nothing else."""


class SynthCXRError(Exception):
    """Work that failed for a reason worth a plain sentence: what, where, what to do. Exit code 1."""

    exit_code = 1


class UsageError(SynthCXRError):
    """A call that was wrong before any work began. Exit code 2."""

    exit_code = 2
