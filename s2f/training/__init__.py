"""How weights are learned: the loop, and what each network learns from. No evaluation.

    __main__   the training of the voice encoder, from a shell
    face       train the face encoder and the face decoder
    loop       the one training loop, resumable and repeatable; fingerprints
    processes  several processes that train one model, one a GPU
    voice      train the voice encoder
"""
