"""What rich search is worth, on Storyboard: ``python -m framesift.evaluation.moment_search --output results``.

Every part answers one question with the very functions that :class:`framesift.Searcher` calls: are moments found, does
"A then B" help, do negative terms exclude, is an answer that is not there told from one that is, does feedback help,
are pictures found by pictures, and copies by copies? What was tried and does not help is measured beside what is
shipped.
"""
