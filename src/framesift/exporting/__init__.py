"""Results of a search as files for other programs: tables, and timelines for video editors.

::

    exported = export(index.search("a dog runs"), "dogs.edl", query="a dog runs")
    print(exported.notes)
"""

from __future__ import annotations

from .export import FORMATS, Exported, export, export_format
from .rows import Row, rows_of

__all__ = ["FORMATS", "Exported", "Row", "export", "export_format", "rows_of"]
