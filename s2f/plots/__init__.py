"""Figures: a table or arrays in, a matplotlib Figure out, all in one style. Nothing is computed here that a result
would need.

    arms             systems side by side on the same pairs
    cartoons         avatars, and how well they agree
    census           who lives in a corpus
    controls         voice less image, equivalence, and what survives a change
    counterfactuals  how a face follows a change of a real voice
    doses            the face at each step of a change of the voice
    errors           errors of a model beside those that it expected
    forest           metrics by group with intervals
    lineups          line-up risk
    pictures         rows of faces and spectrograms
    protocols        matching, verification and retrieval by stratum
    remedies         what a remedy does, by group and by language
    repeats          several recordings of one speaker
    runs             trainings compared with one reference
    scores           learning curves, confusion matrices, recall curves
    space            maps of the feature space, exaggerated faces, failures
    style            the common style, and the parts that figures share
"""
