"""A few drills of `make faults`: those of the preparation, without notebooks."""

import faults
import numpy as np
import pytest
from own_data import make


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """The files of a corpus in several blocks, and the digests of an undisturbed preparation."""
    place = tmp_path_factory.mktemp("drill")
    make(place / "files", train=3, val=1, test=2)
    faults.copies_of(place / "files", 12)
    return place / "files", faults.prepare(place / "files", place / "whole")


@pytest.mark.parametrize("drill", [faults.killed_preparation, faults.killed_worker])
def test_a_killed_preparation_ends_with_the_bytes_of_an_undisturbed_one(drill, corpus):
    assert not drill(*corpus, np.random.default_rng(1))["wrong"]
