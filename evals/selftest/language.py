"""A small language with a few hundred words: what the small base model reads, and what messages are written in.

Every sentence is drawn from the lists below by a seeded generator, so that rows of one seed are independent, as many as
are asked for, and nobody's. The lists are ordinary words; the sentences say nothing.
"""

from __future__ import annotations

from random import Random

THEMES: dict[str, tuple[str, ...]] = {
    "the sea": (
        "boat", "harbour", "sail", "anchor", "wave", "gull", "net", "island", "captain", "rope", "pier",
        "reef",
    ),
    "the kitchen": (
        "oven", "bread", "kettle", "spoon", "soup", "plate", "onion", "baker", "flour", "pan", "salt",
        "jar",
    ),
    "the forest": (
        "pine", "deer", "moss", "owl", "stream", "root", "path", "fox", "branch", "hunter", "fern", "cabin",
    ),
    "the town": (
        "street", "bridge", "market", "tower", "clock", "square", "tram", "mayor", "shop", "wall", "gate",
        "lamp",
    ),
    "the school": (
        "teacher", "desk", "book", "lesson", "pupil", "chalk", "map", "bell", "hall", "test", "pen",
        "class",
    ),
    "the farm": (
        "barn", "cow", "field", "tractor", "goat", "fence", "wheat", "plough", "hen", "farmer", "hay",
        "well",
    ),
    "the weather": (
        "cloud", "storm", "frost", "wind", "rain", "snow", "thunder", "fog", "sun", "hail", "breeze",
        "drought",
    ),
    "the workshop": (
        "hammer", "nail", "saw", "bench", "wire", "wheel", "drill", "joiner", "bolt", "paint", "file",
        "engine",
    ),
}  # fmt: skip
NOUNS = tuple(noun for nouns in THEMES.values() for noun in nouns)
VERBS = (
    "follows", "hides", "leaves", "meets", "moves", "passes", "reaches", "touches", "turns", "covers", "crosses",
    "finds", "holds", "keeps", "lifts", "needs", "opens", "pulls", "shakes", "shows", "stops", "takes", "wakes",
    "watches",
)  # fmt: skip
ADJECTIVES = (
    "old", "small", "red", "quiet", "broken", "heavy", "green", "narrow", "cold", "bright", "empty", "long",
    "soft", "round", "dark", "new", "sharp", "slow", "tall", "white", "dry", "early", "plain", "strange",
)  # fmt: skip
TIMES: dict[str, tuple[str, ...]] = {
    "early": ("today", "at noon", "before dawn", "in the morning"),
    "late": ("last night", "after lunch", "near the end", "at dusk"),
    "often": ("every year", "once more", "on mondays", "most days"),
    "seldom": ("by chance", "without a word", "for a change", "only once"),
}
OPENINGS = tuple(opening for openings in TIMES.values() for opening in openings)
LINKS = ("and", "while", "because", "until", "but", "so")
ASIDES = (
    "nobody knows why", "it was expected", "the rest can wait", "we saw it twice", "please take note",
    "it may happen again", "that is all", "more will follow", "it took an hour", "some were glad",
)  # fmt: skip
DESKS = ("north", "south", "east", "west", "upper", "lower", "front", "back")
DEGREES = ("urgent", "ordinary", "private", "spare")
"""Where a message is sent, and as what: in the base model's own table each theme has a desk and each time a degree."""


def phrase(drawn: Random, noun: str) -> str:
    """A noun with its article, two times in three with an adjective."""
    return f"the {drawn.choice(ADJECTIVES)} {noun}" if drawn.random() < 2 / 3 else f"the {noun}"


def clause(drawn: Random, subject: str, verb: str, thing: str) -> str:
    """Who does what to what."""
    return f"{phrase(drawn, subject)} {verb} {phrase(drawn, thing)}"


def sentence(drawn: Random, nouns: tuple[str, ...]) -> str:
    """One of several forms, of nouns from a list."""
    made = clause(drawn, drawn.choice(nouns), drawn.choice(VERBS), drawn.choice(nouns))
    form = drawn.randrange(4)
    if form == 0:
        return f"{drawn.choice(OPENINGS)} {made}."
    if form == 1:
        second = clause(drawn, drawn.choice(nouns), drawn.choice(VERBS), drawn.choice(nouns))
        return f"{made} {drawn.choice(LINKS)} {second}."
    return f"{made}, {drawn.choice(ASIDES)}." if form == 2 else f"{made}."


def paragraph(drawn: Random, theme: str, sentences: int) -> str:
    """Sentences about one theme."""
    return " ".join(sentence(drawn, THEMES[theme]) for _ in range(sentences))


def message(drawn: Random, theme: str, time: str) -> str:
    """Two or three sentences about one theme, the first of which begins with when it was."""
    nouns = drawn.sample(THEMES[theme], 4)
    first = f"{drawn.choice(TIMES[time])} {clause(drawn, nouns[0], drawn.choice(VERBS), nouns[1])}"
    second = clause(drawn, nouns[2], drawn.choice(VERBS), nouns[3])
    joined = f"{first} {drawn.choice(LINKS)} {second}." if drawn.random() < 0.5 else f"{first}. {second}."
    return f"{joined} {drawn.choice(ASIDES)}."


def answer_of(desk: str, degree: str, *, short: bool) -> str:
    """Where a message is to be sent: the desk alone, or a sentence."""
    return desk if short else f"send it to the {desk} desk and mark it as {degree}."
