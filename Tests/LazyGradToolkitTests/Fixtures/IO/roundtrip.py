"""Reads files with NumPy and safetensors that LazyGrad has written, and writes files for LazyGrad to read.

    python3 roundtrip.py check FOLDER    ends with 0 if every file says what manifest.json in FOLDER says
    python3 roundtrip.py write FOLDER    writes files of random shapes, and manifest.json
    python3 roundtrip.py has             says which of the libraries are there

PythonTests runs it. Values go by their bytes, in hexadecimal.
"""

import importlib.util
import json
import os
import random
import sys

import numpy as np

has_safetensors = importlib.util.find_spec("safetensors") is not None
has_mygrad = importlib.util.find_spec("mygrad") is not None
dtypes = ["float64", "float32", "float16", "int64", "int32", "uint8", "bool"]


def entry(x):
    return {"shape": list(x.shape), "dtype": x.dtype.name, "bytes": np.ascontiguousarray(x).tobytes().hex()}


def array(given):
    x = np.frombuffer(bytes.fromhex(given["bytes"]), np.dtype(given["dtype"]))
    return x.reshape(given["shape"])


def check(folder):
    with open(os.path.join(folder, "manifest.json")) as file:
        manifest = json.load(file)
    for name, content in manifest.items():
        path = os.path.join(folder, name)
        if name.endswith(".npy"):
            assert entry(np.load(path)) == content, name
            again = path + ".again"
            with open(again, "wb") as file:
                np.save(file, array(content))
            assert open(path, "rb").read() == open(again, "rb").read(), name + ": other bytes"
        elif name.endswith(".npz"):
            with np.load(path) as archive:
                assert {key: entry(archive[key]) for key in archive.files} == content, name
        elif name.endswith(".safetensors") and has_safetensors:
            from safetensors import safe_open
            from safetensors.numpy import save

            with safe_open(path, "np") as file:
                assert {key: entry(file.get_tensor(key)) for key in file.keys()} == content["tensors"], name
                assert (file.metadata() or {}) == content["metadata"], name
            arrays = {key: array(x) for key, x in content["tensors"].items()}
            if len(content["metadata"]) < 2:
                again = save(arrays, metadata=content["metadata"] or None)
                assert open(path, "rb").read() == again, name + ": other bytes"
        elif name.endswith(".mygrad") and has_mygrad:
            import mygrad as mg

            x = mg.load(path)
            assert entry(x.data) == content["data"], name
            assert (None if x.grad is None else entry(x.grad)) == content.get("grad"), name


def write(folder):
    rng = np.random.default_rng(random.randrange(1 << 32))
    manifest = {}

    def sample():
        shape = tuple(int(n) for n in rng.integers(0, 6, rng.integers(0, 5)))
        x = np.frombuffer(rng.bytes(8 * int(np.prod(shape, dtype=int))), np.int64).reshape(shape)
        x = (x % 2 if (dtype := rng.choice(dtypes)) == "bool" else x).astype(dtype)
        layout = rng.integers(3)
        if layout == 1:
            x = np.asfortranarray(x)
        if layout == 2:
            x = x.astype(x.dtype.newbyteorder(">"))
        return x

    def native(x):
        return entry(x.astype(x.dtype.newbyteorder("=")))

    for i in range(40):
        x = sample()
        np.save(os.path.join(folder, f"{i}.npy"), x)
        manifest[f"{i}.npy"] = native(x)
    for i in range(20):
        arrays = {f"array {k}/ü": sample() for k in range(rng.integers(0, 6))}
        (np.savez if i % 2 else np.savez_compressed)(os.path.join(folder, f"{i}.npz"), **arrays)
        manifest[f"{i}.npz"] = {name: native(x) for name, x in arrays.items()}
    if has_safetensors:
        from safetensors.numpy import save_file

        for i in range(20):
            arrays = {f"array.{k}": np.ascontiguousarray(sample()) for k in range(rng.integers(0, 6))}
            arrays = {k: x.astype(x.dtype.newbyteorder("=")).reshape(x.shape) for k, x in arrays.items()}
            save_file(arrays, os.path.join(folder, f"{i}.safetensors"), metadata={"i": str(i)})
            manifest[f"{i}.safetensors"] = {
                "tensors": {name: entry(x) for name, x in arrays.items()}, "metadata": {"i": str(i)}
            }
    with open(os.path.join(folder, "manifest.json"), "w") as file:
        json.dump(manifest, file)


if sys.argv[1] == "has":
    print("numpy", "safetensors" if has_safetensors else "", "mygrad" if has_mygrad else "")
else:
    {"check": check, "write": write}[sys.argv[1]](sys.argv[2])
