"""Search as people ask: rich queries over an index, and answers that say why and how sure.

:class:`.Index` finds moments for one sentence with the one pipeline of :mod:`framesift.ranking`; this package composes
such rankings: terms with weights, "A then B", images and clips, filters, feedback, subtitles.
"""
