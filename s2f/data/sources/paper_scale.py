"""The sections of `studies/paper_scale`: a synthetic world, and what a study of any corpus has."""

from s2f.data.sources import folder
from s2f.study.config import Section, World

SECTIONS: dict[str, type[Section]] = folder.SECTIONS | {"data": World}
