# SPDX-License-Identifier: GPL-3.0-or-later
"""The quality report: what compression did to a capture, in one sentence, in numbers and in pictures."""

from .measure import Facts, QualityReport, measure
from .write import json_beside, report_beside, write_numbers, write_report

__all__ = ["Facts", "QualityReport", "json_beside", "measure", "report_beside", "write_numbers", "write_report"]
