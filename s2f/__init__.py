"""Speech2Face (Oh et al., CVPR 2019), reproduced as a chain of notebooks: the face behind a voice. pyproject.toml says
which package may import which.

    app        what 00_explore is made of: voices from a microphone or a file, and the faces that go with them
    cli        the commands `s2f face` and `s2f check`
    data       corpora: tables, sound, batches, trial lists, and readers of sources
    fairness   whom the model serves worse: audit, remedies, line-up risk
    heads      what can be learned from few pairs
    metrics    measurements, with intervals
    models     the networks, their losses and weights, and inference
    plots      figures
    published  measurements of the published samples
    report     our numbers beside the published ones
    signal     sound and pictures as arrays
    study      settings, places, notebooks as stages
    synthetic  a world of speakers whose truth is known
    training   how weights are learned
"""

__version__ = "0.1.0"
