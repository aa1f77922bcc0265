"""What was drawn for voice assistants, beside what is drawn for people: apparent age, sex and skin tone.

Assistants are products and may be named. They have no true face, so nothing here is right or wrong.
"""

import numpy as np
import pandas as pd
from jaxtyping import Float

from s2f.data.sources.published import Samples
from s2f.heads import ridge
from s2f.heads.ridge import Fold
from s2f.signal import colour

TRAITS = ("apparent_age", "apparent_sex", *colour.ANGLES)  # years; probability of a woman; degrees


def looks(assistants: Samples, people: Samples, fold: Fold, seconds: int | float) -> pd.DataFrame:
    """Traits of the faces that were drawn for assistants, and what ridge regressions predict from the same voices.

    The regressions learn apparent age and sex of the true face, and the skin tone of the face drawn from it. Beside the
    assistants stand women and men (by apparent sex of the true face): what was drawn for them, and predictions out of
    fold.

    Args:
        assistants: their samples.
        people: samples that the regressions learn from.
        fold: the fold of each of these people.
        seconds: of the voices.

    Returns:
        A row for each of `who`, `source` (a kind of drawn face, or `ours`) and `trait`: its mean (`value`), and the
        10th and 90th percentile (`low`, `high`) over `clips` of an assistant, or over people.
    """
    assistants = assistants.of_clips()
    product = assistants.people["product"].to_numpy()
    sex = people.looks()["sex"].map({"F": "women", "M": "men"}).to_numpy()
    tables = []
    for kind in assistants.kinds:
        tables.append(_labelled(product, kind, _seen(assistants, kind)))
        if kind in people.kinds:
            tables.append(_labelled(sex, kind, _seen(people, kind)))
    target = np.column_stack([people["true.age"], people["true.female"], people["f2f.skin"]])
    voice = people.voice(seconds)
    predicted = ridge.fit(voice, target).predict(np.hstack(assistants.voice(seconds)))
    tables.append(_labelled(product, "ours", predicted))
    tables.append(_labelled(sex, "ours", ridge.predict(voice, target, fold)))
    by = pd.concat(tables).melt(["who", "source"], var_name="trait").groupby(["who", "source", "trait"])["value"]
    columns = {"value": by.mean(), "low": by.quantile(0.1), "high": by.quantile(0.9), "clips": by.size()}
    return pd.DataFrame(columns).reset_index()


def _seen(sample: Samples, kind: str) -> Float[np.ndarray, "people traits"]:
    return np.column_stack([sample[f"{kind}.age"], sample[f"{kind}.female"], sample[f"{kind}.skin"]])


def _labelled(who: np.ndarray, source: str, traits: Float[np.ndarray, "people traits"]) -> pd.DataFrame:
    return pd.DataFrame(traits, columns=TRAITS).assign(who=who, source=source)
