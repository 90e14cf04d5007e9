"""What a verified pair of rows can be, in the order of their strength; the first three may drop a row."""

KINDS = ("exact", "normalised", "near", "template", "other-answer", "similar")
EXACT, NORMALISED, NEAR, TEMPLATE, OTHER_ANSWER, SIMILAR, NONE = range(len(KINDS) + 1)
"""Numbers of the kinds, and of no kind at all."""
