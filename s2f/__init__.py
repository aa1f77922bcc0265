"""Speech2Face (Oh et al., CVPR 2019), reproduced as a chain of notebooks: the average face that goes with a voice."""

__version__ = "0.1.0"
