"""Traits read off features, as an observer who sees no trait itself has them; the ideal observer then scores by them.

Regressions learn from people whose traits are known, so they are a diagnosis of what features hold, and no system.
"""

import numpy as np
import pandas as pd
from jaxtyping import Float
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from s2f.synthetic import people

Known = Float[np.ndarray, "known dim"]
Features = Float[np.ndarray, "others dim"]

VOICE = ("f0_hz", "vtl_cm", "vocal_age")
FACE = tuple(f"true_z_{name}" for loadings in people.FACE_LOADING.values() for name in loadings) + ("age",)
PENALTIES = np.logspace(-2, 4, 13)
HIDDEN = 128  # units of the network that reads faces


def voices(known: Known, traits: pd.DataFrame, features: Features) -> pd.DataFrame:
    """The traits of voices that the ideal observer asks for, each by ridge or logistic regression.

    Args:
        known: features of recordings to learn from.
        traits: of their speakers, rows of `people.sample`.
        features: of the recordings to read.
    """
    values = traits[list(VOICE)].assign(f0_hz=np.log2(traits["f0_hz"])).to_numpy(float)
    regression = make_pipeline(StandardScaler(), RidgeCV(PENALTIES, alpha_per_target=True))
    read = pd.DataFrame(regression.fit(known, values).predict(features), columns=list(VOICE))
    return read.assign(f0_hz=2 ** read["f0_hz"], language=_labels(known, traits["language"], features))


def faces(known: Known, traits: pd.DataFrame, features: Features, seed: int) -> pd.DataFrame:
    """The parameters of faces that the ideal observer asks for, by a network of one hidden layer.

    Args:
        known: features of faces to learn from.
        traits: of these people, rows of `people.sample`.
        features: of the faces to read.
        seed: of the network.
    """
    # Stopped where a tenth of the people, held out, is read best.
    network = MLPRegressor(
        hidden_layer_sizes=(HIDDEN,), alpha=1.0, learning_rate_init=3e-3, early_stopping=True, random_state=seed
    )
    regression = make_pipeline(StandardScaler(), TransformedTargetRegressor(network, transformer=StandardScaler()))
    read = pd.DataFrame(regression.fit(known, traits[list(FACE)].to_numpy(float)).predict(features), columns=list(FACE))
    return read.assign(**{label: _labels(known, traits[label], features) for label in ("sex", "group")})


def _labels(known: Known, labels: pd.Series, features: Features) -> np.ndarray:
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    return classifier.fit(known, labels).predict(features)
