"""What is read off a predicted face feature, each trait as far as it goes with such voices: age, sex, skin tone.

Learned from predictions for people from whom the model has not learned, so that a reading is as unsure as it is for a
new voice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from s2f.models import arrays
from s2f.study.paths import UserError

FOLDS = 5
PENALTIES = np.logspace(-3, 4, 15)
NORMAL_80 = 1.2816  # standard deviations on each side that hold 80 % of a normal distribution


class Linear(NamedTuple):
    """A trait as a linear function of the feature; of two labels, the logit of the second."""

    weights: Float[np.ndarray, "feature_dim"]
    offset: Float[np.ndarray, ""]
    spread: Float[np.ndarray, ""]  # standard deviation of the trait given the feature; NaN for labels


@dataclass(frozen=True)
class Readers:
    """Readers by the name of what they read: a number (`age`), or the probability of a label (`female`)."""

    linear: Mapping[str, Linear]

    @classmethod
    def fit(
        cls,
        features: Float[np.ndarray, "clips feature_dim"],
        traits: Mapping[str, Shaped[np.ndarray, "clips"]],
        people: Shaped[np.ndarray, "clips"],
    ) -> "Readers":
        """Ridge regression of numbers, logistic regression of truth values; `people` says whose each prediction is.

        A row whose trait is NaN does not count for that trait. A trait known of fewer than ten people, or a label that
        fewer than five have, is left out: too little to cross-validate with.
        """
        from sklearn.linear_model import LogisticRegression, RidgeCV
        from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedGroupKFold, cross_val_predict

        linear = {}
        for name, trait in traits.items():
            known = np.isfinite(trait.astype(float))
            x, y, groups = features[known].astype(float), trait[known], people[known]
            holders = [len(np.unique(groups[y == label])) for label in (False, True)] if y.dtype == bool else [FOLDS]
            if len(np.unique(groups)) < 2 * FOLDS or min(holders) < FOLDS:
                continue
            folds = list((StratifiedGroupKFold if y.dtype == bool else GroupKFold)(FOLDS).split(x, y, groups))
            scale = x.std(axis=0).mean() + 1e-12  # one scale for all: the directions that vary most count most
            if y.dtype == bool:
                strengths = {"C": 1 / PENALTIES}
                search = GridSearchCV(LogisticRegression(max_iter=2000), strengths, cv=folds, scoring="neg_log_loss")
                model = search.fit(x / scale, y).best_estimator_
                weights, offset, spread = model.coef_[0], model.intercept_[0], np.nan
            else:
                model = RidgeCV(PENALTIES).fit(x / scale, y)
                weights, offset = model.coef_, model.intercept_
                spread = np.std(y - cross_val_predict(RidgeCV(PENALTIES), x / scale, y, cv=folds))
            linear[name] = Linear(weights / scale, np.array(offset), np.array(spread))
        return cls(linear)

    def number(self, name: str, feature: Float[np.ndarray, "feature_dim"]) -> tuple[float, float, float] | None:
        """The most likely value of a trait, and the range that holds 80 of 100 people with such a voice."""
        if name not in self.linear:
            return None
        weights, offset, spread = self.linear[name]
        value, half = float(feature @ weights + offset), NORMAL_80 * float(spread)
        return value, value - half, value + half

    def probability(self, name: str, feature: Float[np.ndarray, "feature_dim"]) -> float | None:
        """The probability of a label."""
        if name not in self.linear:
            return None
        weights, offset, _ = self.linear[name]
        return float(1 / (1 + np.exp(-(feature @ weights + offset))))

    def save(self, path: str | Path) -> None:
        """Write them as a safetensors file."""
        named = {name: reader._asdict().items() for name, reader in self.linear.items()}
        arrays.save({f"{name}.{part}": np.asarray(v) for name, parts in named.items() for part, v in parts}, path)

    @classmethod
    def load(cls, path: str | Path) -> "Readers":
        """What `save` wrote; UserError if the file is missing or something else."""
        found, parts = arrays.load(path), {}
        for key, array in found.items():
            name, _, part = key.rpartition(".")
            parts.setdefault(name, {})[part] = array
        if any(set(part) != set(Linear._fields) for part in parts.values()):
            raise UserError(f"{path} does not hold readers of traits: make it again with the stage that writes it.")
        return cls({name: Linear(**part) for name, part in parts.items()})
