"""The faces that held-out voices are compared with."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Float32, Int, Shaped

from s2f.data.corpus import HeldOut
from s2f.metrics.likelihood_ratio import LikelihoodRatio
from s2f.study.paths import UserError


class Gallery(NamedTuple):
    """The faces that held-out voices are compared with: a template a person, the mean feature of their photographs."""

    names: Shaped[np.ndarray, "people"]  # the test speakers, sorted
    faces: Float32[np.ndarray, "people dim"]  # their templates
    own: Int[np.ndarray, "test_clips"]  # which of them speaks in each test clip
    validation: Float32[np.ndarray, "val_clips dim"]  # the template that belongs to each validation clip
    test: Bool[np.ndarray, "clips"]  # which of the held-out clips are test clips

    @classmethod
    def of(cls, held: HeldOut, templates: pd.DataFrame) -> "Gallery":
        """The templates of the held-out speakers, from those of everybody (`Corpus.templates`)."""
        templates = templates.astype(np.float32)
        names, own = np.unique(held.speakers, return_inverse=True)
        validation = held.clips.loc[~held.test, "speaker_id"]
        if missing := sorted({*names, *validation} - set(templates.index)):
            raise UserError(f"There is no photograph of speaker {missing[0]}: make the features of photographs again.")
        faces, fitted = (templates.loc[people].to_numpy() for people in (names, validation))
        return cls(names, faces, own, fitted, held.test)

    def likelihood_ratio(self, predicted: Float[np.ndarray, "clips dim"], dims: int) -> LikelihoodRatio:
        """The score fitted on the validation clips; `predicted` are the features of all held-out clips."""
        return LikelihoodRatio.fit(predicted[~self.test], self.validation, dims)
