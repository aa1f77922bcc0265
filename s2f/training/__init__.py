"""How weights are learned: the loop, and what each network learns from. No evaluation.

    face   train the face encoder and the face decoder
    loop   the one training loop, resumable and repeatable; fingerprints
    voice  train the voice encoder
"""
