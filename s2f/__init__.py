"""Speech2Face (Oh et al., CVPR 2019), reproduced as a chain of notebooks: the face behind a voice."""

__version__ = "0.1.0"
