# SPDX-License-Identifier: GPL-3.0-or-later
"""How an operator tells the user that it cannot do what was asked."""

from __future__ import annotations

import functools
from collections.abc import Callable

import bpy

from ..errors import ExgsError

Execute = Callable[[bpy.types.Operator, bpy.types.Context], set[str]]


def reported(execute: Execute) -> Execute:
    """For an operator's ``execute``: an ``ExgsError`` becomes a line for the user, and the operator ends as cancelled."""

    @functools.wraps(execute)
    def told(self: bpy.types.Operator, context: bpy.types.Context) -> set[str]:
        try:
            return execute(self, context)
        except ExgsError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}

    return told
