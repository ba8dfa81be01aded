"""Writes Resources/digits.npz: the 8x8 handwritten digits that come with scikit-learn.

1,797 real images of the test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin and
C. Kaynak, UCI Machine Learning Repository, 1998; licence CC BY 4.0). Needs scikit-learn:

    python3 make_digits.py
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

digits = load_digits()
images = digits.images.astype(np.uint8)  # [1797, 8, 8], ink from 0 to 16
assert (images == digits.images).all()
np.savez_compressed(
    Path(__file__).parent / "Resources" / "digits.npz",
    images=images,
    labels=digits.target.astype(np.uint8),
)
