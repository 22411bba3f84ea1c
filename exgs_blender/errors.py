# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors that are shown to a user as one line."""

from __future__ import annotations

from os import PathLike, fspath


class ExgsError(Exception):
    """What went wrong, in one line: which file, which field, what was expected, what to do.

    Every error that bad input or a bad environment can cause is one of these; anything else that
    reaches the top of the command line or of a worker job is a bug and is logged with its traceback.
    """


class FileError(ExgsError):
    """A file (or folder) cannot be used.

    Args:
        path: the file at fault.
        problem: what is wrong, with the field and what was expected. It may quote the file: what is not printable (a line's end, a
            terminal's commands) becomes a question mark in a diamond.
        hint: what the user can do about it (optional).
    """

    def __init__(self, path: str | PathLike[str], problem: str, hint: str = "") -> None:
        self.path = fspath(path)
        self.problem = problem = "".join(c if c.isprintable() else "\ufffd" for c in problem)
        self.hint = hint
        super().__init__(f"{self.path}: {problem}" + (f". {hint}" if hint else ""))


class MissingDependencyError(ExgsError):
    """A package that this job needs is not in this Python; the worker's environment has it."""

    def __init__(self, package: str, purpose: str) -> None:
        self.package = package
        super().__init__(f"{purpose} needs the Python package '{package}'; run 'exgs doctor' to see how to add it")


class CancelledError(ExgsError):
    """The user cancelled the job; nothing was written under the final name."""

    def __init__(self, message: str = "cancelled") -> None:
        super().__init__(message)
