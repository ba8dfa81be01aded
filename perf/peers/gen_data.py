"""Writes the data of W1 and W2 for the C programs. Usage: gen_data.py <folder>"""

import os
import sys

import numpy as np

import common as c

folder = sys.argv[1]
os.makedirs(folder, exist_ok=True)
for size, dimensions in c.RNN_SIZES.items():
    x, labels, parameters = c.rnn_data(size)
    with open(os.path.join(folder, f"rnn_{size}.bin"), "wb") as f:
        f.write(np.array(dimensions, np.int32).tobytes())
        f.write(x.tobytes())
        for p in parameters:
            f.write(p.tobytes())
        f.write(labels.astype(np.int32).tobytes())
for n in c.CHAIN_SIZES:
    with open(os.path.join(folder, f"ew_{n}.bin"), "wb") as f:
        for v in c.chain_data(n):
            f.write(v.tobytes())
