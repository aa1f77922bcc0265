"""Measurements, from arrays and tables alone: they would judge any other system as well.

    attributes        sex, age and group predicted from faces (Fig. 4)
    bootstrap         intervals that resample speakers
    ceiling           a score beside chance and beside the best possible
    consistency       how alike the predictions for one speaker are
    craniofacial      13 measures of drawn against true faces (Fig. 5c)
    distractors       embeddings of modelled people, to fill large galleries
    diversity         near-duplicates and spread of a set of faces
    feature_space     exaggeration, failures and projections of features
    gallery           templates, queries and scores of a held-out set
    likelihood_ratio  a verification score fitted on held-out pairs
    matching          1:N matching
    paired            several systems on the same voices and faces
    probes            negative controls and dose-response experiments
    protocols         matching, verification and retrieval by trial lists
    retrieval         ranks, recall and its chance level
    robustness        what degraded copies of recordings change
    search            exact ranks in galleries of millions; an approximate index
    similarity        scores between embeddings; distance from the true one
    variance          variances from few repetitions
    verification      AUC and equal error rate
"""
