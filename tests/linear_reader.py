"""A stand-in for the networks that read drawings."""

import torch

from s2f.models import linear_decoder


class LinearReader:
    """Reads what regressions on the coefficients of canonical pictures read."""

    def __init__(self, parts, coefficients, canonical):
        self.mean, self.trait_mean = (torch.from_numpy(v.mean(axis=0)) for v in (canonical.features, canonical.traits))
        read = linear_decoder.ridge(coefficients, canonical.features)
        self.feature, self.traits = map(torch.from_numpy, (read, linear_decoder.ridge(coefficients, canonical.traits)))

    def __call__(self, coefficients):
        features, traits = coefficients.double() @ self.feature, coefficients.double() @ self.traits
        return (self.mean + features).float(), (self.trait_mean + traits).float()
