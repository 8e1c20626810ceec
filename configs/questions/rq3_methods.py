"""Research question 3: is VEEGAN better than the methods it is compared with? Each at its best of equally many tries.

    python -m veegan_jax.main --config configs/questions/rq3_methods.py:DATA

DATA is ring, grid, synthetic1200 or stacked_digits. A method's recipe is the one of its four tries (`rq3_tries`) with
the smallest (K+1)-bin KL, which counts lost modes, their balance and quality at once; on stacked digits, and where no
sample of any try is of high quality, with the smallest reverse KL. It is trained for twice as long, with seeds that no
try had.

Expected: the table of question 3 in docs/questions.md.
"""

from ml_collections import ConfigDict

from configs.questions.rq3_tries import METHODS, asked, question, tries
from veegan_jax.errors import suggestion

# The number of the best try of each method, in their order; a test holds it to docs/results/trials.jsonl.
DATA: dict[str, tuple[int, ...]] = {
    "ring": (2, 2, 3, 2, 3, 2, 2),
    "grid": (2, 2, 3, 2, 2, 2, 2),
    "synthetic1200": (3, 2, 2, 3, 2, 2, 2),
    "stacked_digits": (3, 0, 2, 1, 1, 1, 1),
}


def get_config(data: str = "grid") -> ConfigDict:
    if data not in DATA:
        raise ValueError(f"DATA is {data!r}; {suggestion(data, DATA)}")
    rows = {method: tries(method, data)[best] for method, best in zip(METHODS, DATA[data], strict=True)}
    return question(data, rows, num_steps=2 * asked(data).steps, num_seeds=5)
