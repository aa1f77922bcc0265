"""What learns from a few hundred pairs, on features of pretrained networks; cross-validated by person.

    contrastive  contrastive maps, and the voice encoder from scratch
    ridge        ridge regression out of fold, and its scores
"""
