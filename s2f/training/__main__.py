"""`torchrun --nproc-per-node GPUS -m s2f.training` in the folder of a study: the training of `30_train`, from a shell.

The stage `train`, run afterwards, finds it finished and goes on from there.
"""

import sys

import numpy as np

from s2f.data.corpus import Corpus
from s2f.models import inference
from s2f.study import config, paths
from s2f.training import processes
from s2f.training.voice import train_voice_encoder


def main() -> None:
    device = processes.join()
    study = paths.study()
    cfg = config.load(config.Train, study.params)
    scale = config.load_optional(config.Scale, study.params)
    corpus = Corpus.open(study)
    face = inference.FaceModel.load(study.models)
    train_voice_encoder(
        corpus.clips,
        corpus.shards,
        np.load(study.features / "photos.npy"),
        face.encoder,
        face.decoder,
        cfg,
        checkpoint=study.scratch / "voice_encoder",
        log=study.scratch / "voice_encoder.csv",
        device=device,
        scale=scale,
    )


if __name__ == "__main__":
    try:
        main()
    except paths.UserError as error:
        print(f"s2f: {error}", file=sys.stderr)
        sys.exit(2)
