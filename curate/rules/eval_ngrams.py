"""LEK402 eval-ngrams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from curate.contamination.ngrams import overlaps
from curate.findings import twin_of
from curate.rows import Corpus
from curate.rules.base import Action, Example, Hit, Rule
from schemas.finding import Severity

QUESTION = "A farmer has twelve sheep and sells all but five of them at the market. How many sheep does he still have?"


class EvalNgrams(Rule):
    """A row that holds a good part of an eval item's question.

    ## What it does
    Cuts each eval question and each row into runs of `ngram` words and reports rows that hold at least `share` of the
    distinct runs of one question. Runs that occur in more than 1% of the rows are the data's own template and do not
    count.

    ## Why
    Questions come wrapped: in an instruction, in a list, with a word changed. Matching whole turns misses these.

    ## Known problems
    Questions of fewer than `ngram` words cannot be found this way. Paraphrases and translations are not found.

    ## Source
    Brown et al. 2020, arXiv:2005.14165, appendix C; the share of covered runs follows the Tulu 3 report,
    arXiv:2411.15124.
    """

    code: ClassVar[str] = "LEK402"
    name: ClassVar[str] = "eval-ngrams"
    severity: ClassVar[Severity] = Severity.ERROR
    default_action: ClassVar[Action] = Action.DROP
    help: ClassVar[str] = "remove the row from training; `assay curate` drops it"
    fires: ClassVar[tuple[Example, ...]] = (
        Example(
            ({"prompt": f"Solve this step by step, please. {QUESTION} Think!", "completion": "5"},),
            evals=({"question": QUESTION, "answer": "5"},),
        ),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example(
            ({"prompt": "A farmer has a dog and two cats. How many animals does he have?", "completion": "3"},),
            evals=({"question": QUESTION, "answer": "5"},),
        ),
    )

    ngram: int = Field(default=8, ge=2, le=50)
    """Words in a run."""
    share: float = Field(default=0.5, gt=0.0, le=1.0)
    """Share of a question's runs that a row must hold."""

    def idle_reason(self, corpus: Corpus) -> str | None:
        """Without eval items there is nothing to compare with."""
        return "no eval items were given (--against, data.evals)" if corpus.evals is None else None

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each row, for the eval item of which it holds most."""
        if corpus.evals is None:
            return
        found = overlaps(corpus, corpus.evals, self.ngram)
        best = found.unique("index", keep="first", maintain_order=True)
        for index, item, shared, share in best.iter_rows():
            if share < self.share:
                continue
            twin = twin_of(corpus.evals, item)
            where = f"{twin['path']}:{twin['line']}" if twin["line"] else f"{twin['path']}, row {twin['row']}"
            evidence = {
                "twin": twin,
                "measure": f"share-of-{self.ngram}-grams",
                "similarity": round(share, 4),
                "shared": shared,
            }
            message = f"the row holds {share:.2f} of the question of an eval item ({where})"
            yield Hit(index, message, None, evidence, detail=str(corpus.evals.place(item).row_id))
