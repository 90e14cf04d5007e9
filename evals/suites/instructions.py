"""Does the model do what it is told about the form of its answer: length, words, case, lists, JSON.

Every instruction is checked by program (`_checks.py`), in the manner of IFEval (Zhou et al. 2023, arXiv 2311.07911);
prompts and checks were written for assay. An item joins a request with one or two instructions; which, the seed says.
Slices: `kind`, `instructions`.
"""

from __future__ import annotations

from typing import Any

from evals.makers import Given, Made
from evals.tasks import Reference
from schemas.base import canonical_json, digest

ITEMS = 200
REQUESTS = {
    "Describe a rainy day in a city": "rain",
    "Explain why the sky is blue": "light",
    "Tell a friend how to boil an egg": "water",
    "Describe a cat to someone who has never seen one": "tail",
    "Recommend a visit to a museum": "art",
    "Explain what a bicycle is for": "wheel",
    "Write about the sea": "wave",
    "Give advice to someone who cannot sleep": "evening",
    "Describe your favourite kind of tree": "leaf",
    "Explain how a letter gets to its address": "post",
    "Write a short note that thanks a neighbour": "thanks",
    "Describe breakfast in a small hotel": "bread",
    "Explain what a thermometer measures": "heat",
    "Invite a colleague to lunch": "table",
    "Describe the sound of a train": "rail",
    "Explain why people learn languages": "travel",
    "Write about the first day of spring": "flower",
    "Tell a child what the moon is": "night",
    "Describe a market on a Saturday": "fruit",
    "Explain how to water a plant": "soil",
}
"""Request -> a word that fits it."""
LENGTHS = (("max_words", "20"), ("max_words", "40"), ("min_words", "60"), ("sentences", "1"), ("sentences", "2"),
           ("bullets", "2"), ("bullets", "3"), ("json_keys", "answer"), ("json_keys", "title,text"))  # fmt: skip
FORMS = (("has_word", ""), ("lacks_word", "the"), ("upper_case", ""), ("lower_case", ""), ("begins_with", "Well"),
         ("ends_with", "The end."), ("no_comma", ""), ("quoted", ""))  # fmt: skip
TOLD = {
    "max_words": "Use at most {} words.",
    "min_words": "Use at least {} words.",
    "sentences": "Write exactly {} sentence(s).",
    "bullets": "Answer with a list of exactly {} bullet points, each on a line that begins with a hyphen.",
    "json_keys": "Answer with nothing but a JSON object that has exactly these keys: {}.",
    "has_word": 'Use the word "{}".',
    "lacks_word": 'Do not use the word "{}".',
    "upper_case": "Write everything in capital letters.",
    "lower_case": "Write everything in lower case, without any capital letter.",
    "begins_with": 'Begin your answer with the word "{}".',
    "ends_with": 'End your answer with exactly these words: "{}"',
    "no_comma": "Do not use any comma.",
    "quoted": "Put your whole answer between double quotation marks.",
}
ALONE = ("json_keys", "bullets")
"""Instructions that hardly go together with another one about form."""
TASK: dict[str, Any] = {
    "output_type": "generate_until",
    "doc_to_text": "{{prompt}}",
    "doc_to_target": "",
    "process_results": Reference("_checks.score"),
    "generation_kwargs": {"until": ["<|im_end|>"], "do_sample": False, "max_gen_toks": 160},
    "metric_list": [
        {"metric": "follows_all", "aggregation": "mean", "higher_is_better": True},
        {"metric": "follows_share", "aggregation": "mean", "higher_is_better": True},
    ],
    "metadata": {"version": 1},
}


def make(given: Given) -> Made:
    """Requests and instructions in the seed's order; items of one request share a cluster."""
    requests = sorted(REQUESTS)
    drawn = given.random("instructions")
    pairs = [(request, check) for request in requests for check in (*LENGTHS, *FORMS)]
    drawn.shuffle(pairs)
    documents, clusters = [], []
    for request, (kind, value) in pairs[: given.limit or ITEMS]:
        checks = [(kind, REQUESTS[request] if kind == "has_word" else value)]
        if (kind, value) in LENGTHS and kind not in ALONE and drawn.random() < 0.5:
            second, with_value = drawn.choice(FORMS)
            checks.append((second, REQUESTS[request] if second == "has_word" else with_value))
        told = " ".join(TOLD[name].format(text.replace(",", " and ")) for name, text in checks)
        documents.append(
            {
                "prompt": f"{request}. {told}",
                "checks": [{"kind": name, "value": text} for name, text in checks],
                "kind": kind,
                "instructions": str(len(checks)),
            }
        )
        clusters.append(requests.index(request))
    return Made(documents, [digest(canonical_json(document))[:16] for document in documents], clusters)
