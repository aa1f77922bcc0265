"""Whom the model serves worse, why, and what helps. Arrays and tables in, like `metrics`.

    audit            metrics by group beside what luck alone would do
    interventions    controls that change links, sound or drawings; equivalence
    languages        trained on one language, tested on both
    lineup           what happens if a drawn face is used to look for the speaker
    mitigation       trainings compared by group
    planted_effects  what the audit found of what was planted
"""
