"""A check that predictions are out of fold."""

import numpy as np


def out_of_fold(predict, faces, fold):
    """`predict(faces)`, having checked that no fold's predictions of other faces depend on the faces of that fold."""
    predicted = predict(faces)
    inside = fold == 0
    changed = faces.copy()
    changed[inside] = faces[inside][::-1] + 1
    again = predict(changed)
    rows = (predicted[inside][:, ~inside], again[inside][:, ~inside]) if predicted.shape[0] == predicted.shape[1] else (
        predicted[inside], again[inside]
    )  # fmt: skip
    assert np.array_equal(*rows) and not np.array_equal(predicted, again)
    return predicted
