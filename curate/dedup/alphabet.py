"""What every character is to the tokeniser: tables built once from the Unicode database.

Spaced scripts are cut into words; in scripts that are written without spaces (Han, kana, Thai, Lao,
Khmer, Myanmar, Tibetan) every character is a token of its own and shingles are made of characters.
"""

from __future__ import annotations

import sys
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Markers written into transcoded text; both are control characters that count as separators in input.
CAPITAL_BYTE, UNSPACED_BYTE = 0x1E, 0x1F

# Classes of a code point beyond ASCII, in bits 24 and up of the fold table.
CODE_MASK = 0x1FFFFF
IS_WORD, IS_UNSPACED, IS_CAPITAL, IS_DROPPED = 1 << 24, 1 << 25, 1 << 26, 1 << 27
TABLE_SIZE = 0x20000

UNSPACED = (
    (0x0E00, 0x0EFF), (0x0F00, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x2FDF),
    (0x3005, 0x3007), (0x3040, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x1B000, 0x1B16F),
)  # fmt: skip

# Words that carry grammar rather than content. They never propose a candidate, and an edit that touches
# only such words does not make a short row a different row. Negations are content and are not listed.
_FUNCTION_WORDS = """
a about above after again all also although am an and any are aren as at be because been before being
below between both but by can could d did do does doing don down during each else etc ever every few for from
further get had has have having he her here hers herself him himself his how however i if in into is it
its itself just kindly ll let like m may me might more most much must my myself nor now of off on once only or other
our ours ourselves out over own please quite rather re really s same she should so some such t than that
the their theirs them themselves then there therefore these they this those though through thus to too under until
up upon us use very was we were what when where whether which while who whom whose why will with within would
you your yours yourself yourselves
de la le les des du un une et est que qui dans pour sur par avec plus se ce cette sont
el los las una y en es por con para como del al lo su sus esta este son
der die das und ist ein eine einer eines den dem im zu mit auf auch sich von wie aus bei wird sind
il di che per della dei gli nel o e da em os uma para com mais
""".split()

# Numbers spelled out: replacing one by another is "another number", not an edit.
_NUMBER_WORDS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million
billion first second third fourth fifth sixth seventh eighth ninth tenth
""".split()

# Words that deny: where a pair differs in little else, one of them more or less turns the meaning round. Unspaced
# scripts are cut into characters, so that only denials of one character can stand here.
_NEGATIONS = """
not no never ain aren couldn didn doesn don hadn hasn
haven isn mustn needn shouldn wasn weren won wouldn dont doesnt didnt isnt wont cant t
nicht nie niemals kein keine keinen keinem keiner pas ne jamais nunca jamás non não niet geen не нет никогда
لا ليس ليست لم لن غير नहीं मत नही
안 못 않는다 않는 않고 않다 않습니다 않았습니다 없다 없는 없습니다 없었습니다 아니다 아닙니다
不 没 沒 無 无 未 非 否 勿 ん
""".split()

# Small closed sets, one a line: a word in the place of another of its set makes another row, as another number does.
# Words that also stand for each other without a change of meaning (big, large) are not both listed.
_CLOSED_SETS = """\
and or
before after during until
above below
over under
up down on off
more less most least
always sometimes rarely never
all none
with without
can cannot
either neither
something nothing
somebody nobody
mit ohne
avec sans
con sin
с без
yes no
있습니다 없습니다 있다 없다 있는 없는 있었습니다 없었습니다
he she him his her
left right
true false
min max minimum maximum asc desc ascending descending
increase increases increased increasing decrease decreases decreased decreasing
positive negative neutral
high low higher lower early late earlier later
large small larger smaller long short longer shorter
hot cold old new fast slow faster slower cheap expensive easy difficult
open closed opens closes inside outside
last next best worst better worse
enable disable enabled disabled include exclude included excluded allow deny allowed forbidden accept reject accepted \
rejected buy sell bought sold import export success failure pass fail passed failed win lose wins loses spam ham
north south east west northern southern eastern western
morning evening noon midnight today tomorrow yesterday am pm
mg g kg km m cm mm miles mile feet foot inches inch yards lb lbs pounds ounces oz ml cl l liters litres gallons cups \
tablespoons teaspoons tbsp tsp celsius fahrenheit kelvin dollars euros cents usd eur gbp jpy
kb mb gb tb bytes bits hz khz mhz ghz
seconds minutes hours days weeks months years second minute hour day week month year decades centuries
monday tuesday wednesday thursday friday saturday sunday mon tue wed thu fri sat sun
january february march april june july august september october november december jan feb mar apr jun jul aug sep oct \
nov dec
english french german spanish italian portuguese dutch russian chinese japanese korean arabic hindi turkish latin \
greek polish swedish danish norwegian finnish czech hungarian romanian ukrainian hebrew persian urdu bengali tamil \
thai vietnamese indonesian swahili
python java javascript typescript rust golang kotlin ruby perl php swift scala haskell julia matlab fortran cobol lua
一 二 三 四 五 六 七 八 九 十 百 千 万 萬
左 右 上 下 前 后 後 早 晚
€ £ ¥ ₹ ₩ ₽ ¢
≤ ≥ ≠ ≈ ≡ ∈ ∉ ⊂ ⊃ ⊆ ⊇ ∪ ∩ ∀ ∃ ± ∞ ∧ ∨ ∑ ∏ ∫ ∂ ∇
"""

SHARP_S = (0xDF, 0x1E9E)
"""Written as two letters where all are capitals."""
# Letters that lose what they are where all letters are capitals.
_PLAIN = {"\u00df": "s", "\u1e9e": "s", "\u0131": "i"}

# Characters that HTML and XML must write as words; the words are no text.
_ENTITIES = "amp lt gt quot apos nbsp".split()


def negations() -> list[str]:
    """Words that deny, of several languages."""
    return _NEGATIONS


def closed_sets() -> list[list[str]]:
    """Sets of words and symbols that exclude each other: opposites, units, days, months, languages; at most 63."""
    return [line.split() for line in _CLOSED_SETS.replace("\\\n", "").split("\n") if line]


def entities() -> list[str]:
    """Names of the character references that text is escaped with."""
    return _ENTITIES


def function_words() -> list[str]:
    """The words that never count as content."""
    return _FUNCTION_WORDS


def number_words() -> list[str]:
    """English number words, which count as numbers."""
    return _NUMBER_WORDS


@dataclass(frozen=True)
class Alphabet:
    """Lookup tables of the tokeniser.

    Attributes:
        fold: uint32 [0x20000], folded code point and class bits of a code point from 128 on.
        pairs, composed: sorted uint32 keys ``base << 8 | mark - 0x300`` and the code points they compose to.
    """

    fold: NDArray[np.uint32]
    pairs: NDArray[np.uint32]
    composed: NDArray[np.uint32]


@cache
def alphabet() -> Alphabet:
    """The tables for the running interpreter's Unicode version, once a process."""
    fold = _fold_table()
    pairs, composed = _compositions(fold)
    return Alphabet(fold, pairs, composed)


def _fold_table() -> NDArray[np.uint32]:
    """Folded code point and class of every code point: NFKC, then case folding, where that is one character."""
    chars = list(map(chr, range(128, TABLE_SIZE)))
    category = list(map(unicodedata.category, chars))
    # All in one text, which is many times faster; nothing composes with a line feed.
    folded = unicodedata.normalize("NFKC", "\n".join(chars) + "\n").casefold()
    codes = np.frombuffer(folded.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    ends = np.flatnonzero(codes == ord("\n"))
    target = codes[ends - 1]
    for place in np.flatnonzero(np.diff(ends, prepend=-1) != 2).tolist():
        target[place] = ord(chars[place].lower()[0])
    for char, plain in _PLAIN.items():
        target[ord(char) - 128] = ord(plain)
    unspaced = np.zeros(sys.maxunicode + 1, dtype=np.bool_)
    for low, high in UNSPACED:
        unspaced[low : high + 1] = True
    kind = np.array(category)
    capital = np.where(np.isin(kind, ("Lu", "Lt")), IS_CAPITAL, 0)
    fold = np.zeros(TABLE_SIZE, dtype=np.uint32)
    fold[128:] = target | IS_WORD | np.where(unspaced[target], IS_UNSPACED, capital)
    for place in np.flatnonzero(~np.isin(kind.astype("U1"), ("L", "M", "C")) | (kind == "Cc")).tolist():
        fold[place + 128] = _other_entry(chars[place], category[place], fold[place + 128])
    fold[128:][np.isin(kind, ("Cf", "Cs", "Cn", "Co"))] = IS_DROPPED
    fold[0x300:0x370] = fold[0xFE00:0xFE10] = IS_DROPPED
    return fold


def _other_entry(char: str, category: str, entry: int) -> int:
    """The entry of a number or a separator; `entry` is the one that it would have as a letter."""
    if category[0] == "N":
        digit = unicodedata.decimal(char, None)
        return entry if digit is None else IS_WORD | ord("0") + digit
    if category in ("Sc", "Sm") and char in _CLOSED_SETS:
        return IS_WORD | IS_UNSPACED | ord(char)
    return _separator(char, category)


def _separator(char: str, category: str) -> int:
    """The ASCII separator that stands for a separator beyond ASCII."""
    if category in ("Zl", "Zp") or char == "\u0085":
        return ord("\n")
    if category == "Pd" or char == "\u2212":
        return ord("-")  # dashes and the minus sign
    plain = unicodedata.normalize("NFKC", char)
    if plain and ord(plain[0]) < 128 and not plain[0].isalnum():
        return ord(plain[0])
    if category in ("Pi", "Pf") or char in "「」『』„":
        return ord('"')
    if char in "\u3002\u0964\u061f\u06d4":
        return ord(".")
    return ord("(") if category == "Ps" else ord(")") if category == "Pe" else ord(" ")


def _compositions(fold: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Pairs of a lower-case base and a combining mark that compose to one character, sorted."""
    found: dict[int, int] = {}
    for code in range(0xC0, 0x2000):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) != 2 or not 0x300 <= (mark := int(parts[1], 16)) < 0x370:
            continue
        base = ord(chr(int(parts[0], 16)).lower()[0])
        found[base << 8 | mark - 0x300] = int(fold[code]) & CODE_MASK
    keys = sorted(found)
    return np.array(keys, dtype=np.uint32), np.array([found[key] for key in keys], dtype=np.uint32)
