"""What learns from a few hundred pairs, on features of pretrained networks; cross-validated by person.

    baselines     front ends that others trained, or none, with the heads below, on any corpus
    contrastive   contrastive maps
    critic        two small networks that score pairs, trained by contrast
    drawing       predictions as pictures, by linear face decoders
    from_scratch  the paper's voice encoder, trained on these pairs alone
    kept          a model to keep, learned from everybody
    ridge         ridge regression out of fold, and its scores
    settings      how a network is trained from scratch
"""
