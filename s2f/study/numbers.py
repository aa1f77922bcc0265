"""Numbers that are no numbers: NaN and infinity are refused by name where arrays enter."""

import numpy as np
import pandas as pd

from s2f.study.paths import UserError

BLOCK = 2**22  # numbers checked at once


def finite(**arrays: np.ndarray | pd.Series | pd.DataFrame) -> None:
    """UserError for the first array that holds NaN or infinity: it names the array, the row (by its label in a table)
    and the value. Arrays without floating-point numbers pass."""
    for name, array in arrays.items():
        values = np.asarray(array)
        if values.dtype.kind not in "fc" or not values.ndim:
            continue
        step = max(1, BLOCK * len(values) // max(values.size, 1))
        for start in range(0, len(values), step):
            good = np.isfinite(values[start : start + step])
            if not good.all():
                place = np.argwhere(~good)[0]
                row = start + place[0]
                label = array.index[row] if isinstance(array, pd.Series | pd.DataFrame) else row
                value = values[start : start + step][tuple(place)]
                raise UserError(
                    f"The {name.replace('_', ' ')} of row {label} holds {value}: set that item aside, or make it again."
                )
