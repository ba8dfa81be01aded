"""Writes the files that FileFixtureTests reads, with the libraries whose formats they are.

    python3 generate.py        needs numpy, safetensors and mygrad

expected.json says what each file holds, or what is wrong with it. Kept in the repository: numpy 2.4,
safetensors 0.8, mygrad 2.5.
"""

import io
import json
import os
import zipfile

import numpy as np
from numpy.lib import format as npy

here = os.path.dirname(os.path.abspath(__file__))
expected = {}


def path(name):
    return os.path.join(here, name)


def values(array):
    """As JSON; what it has no numbers for as text."""
    flat = np.asarray(array).astype(object).ravel(order="C")
    return [str(x) if isinstance(x, float) and not np.isfinite(x) else x for x in flat]


def entry(array, dtype=None):
    return {"shape": list(array.shape), "dtype": dtype or array.dtype.name, "values": values(array)}


def sample(dtype, shape):
    count = int(np.prod(shape))
    numbers = np.arange(count, dtype=np.int64) * 37 - 11
    if dtype == "bool":
        return (numbers % 3 == 0).reshape(shape)
    if dtype.startswith("float"):
        result = (numbers / 8).astype(dtype).reshape(shape)
        if count > 3:
            result.ravel()[:3] = [np.inf, -0.0, np.nan]
        return result
    return numbers.astype(dtype).reshape(shape)


# --- .npy --------------------------------------------------------------------------------------

for dtype in ["float64", "float32", "float16", "int64", "int32", "uint8", "bool"]:
    x = sample(dtype, (2, 3, 4))
    np.save(path(f"{dtype}.npy"), x)
    expected[f"{dtype}.npy"] = entry(x)

for name, x, version in [
    ("scalar.npy", np.array(2.5), None),
    ("empty.npy", np.zeros((0, 4), np.float32), None),
    ("fortran.npy", np.asfortranarray(sample("float64", (2, 3, 4))), None),
    ("big_endian.npy", sample("float64", (5,)).astype(">f8"), None),
    ("big_endian_fortran.npy", np.asfortranarray(sample("int32", (3, 5))).astype(">i4", order="F"), None),
    ("version2.npy", sample("int64", (3, 2)), (2, 0)),
    ("version3.npy", sample("float32", (3, 2)), (3, 0)),
]:
    with open(path(name), "wb") as file:
        npy.write_array(file, x, version=version)
    expected[name] = entry(x.astype(x.dtype.newbyteorder("=")))

# As Python 2 has written it.
text = b"{'descr': '<i4', 'fortran_order': False, 'shape': (2L, 1L), }"
text += b" " * (64 - (10 + len(text) + 1) % 64) + b"\n"
with open(path("python2.npy"), "wb") as file:
    file.write(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(range(8)))
expected["python2.npy"] = entry(np.frombuffer(bytes(range(8)), "<i4").reshape(2, 1))

for name, x, found in [
    ("int16.npy", np.arange(3, dtype=np.int16), "int16"),
    ("complex.npy", np.arange(3, dtype=np.complex128), "complex128"),
    ("text.npy", np.array(["a", "bc"]), "<U2"),
    ("object.npy", np.array([None, {}], dtype=object), "Python objects"),
    ("structured.npy", np.zeros(2, [("a", "<i4"), ("b", "<f8", (2,))]), "structured type '[('a', '<i4')"),
]:
    np.save(path(name), x, allow_pickle=True)
    expected[name] = {"unsupported": found}

# --- .npz --------------------------------------------------------------------------------------

arrays = {
    "x": sample("float64", (3, 4)),
    "layers/0/bias": sample("int32", (7,)),
    "größe": sample("bool", (2, 2)),
    "zeros": np.zeros((64, 64), np.float32),
}
inside = {name: entry(x) for name, x in arrays.items()}


class Stream(io.RawIOBase):
    """A file that can't be sought in: the sizes come behind the data then."""

    def __init__(self, name):
        self.file = open(name, "wb")

    def writable(self):
        return True

    def write(self, data):
        return self.file.write(data)


np.savez(path("stored.npz"), **arrays)
np.savez_compressed(path("deflated.npz"), **arrays)
stream = Stream(path("streamed.npz"))
with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
    for name, x in arrays.items():
        with archive.open(name + ".npy", "w") as file:
            npy.write_array(file, x)
stream.file.close()
# Other ways to deflate: fixed codes, and blocks that are stored.
for name, level in [("level0.npz", 0), ("level1.npz", 1)]:
    with zipfile.ZipFile(path(name), "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        archive.comment = b"a comment"
        for key, x in arrays.items():
            buffer = io.BytesIO()
            npy.write_array(buffer, x)
            archive.writestr(key + ".npy", buffer.getvalue())
        archive.writestr("notes.txt", "no array")
for name in ["stored.npz", "deflated.npz", "streamed.npz", "level0.npz", "level1.npz"]:
    expected[name] = {"arrays": inside}
with zipfile.ZipFile(path("lzma.npz"), "w", zipfile.ZIP_LZMA) as archive:
    archive.writestr("x.npy", b"anything")
expected["lzma.npz"] = {"unsupported": "compressed by method 14"}

# --- MyGrad ------------------------------------------------------------------------------------

import mygrad as mg

x = mg.tensor([[1.0, -2.0], [0.5, 4.0]])
(x * x).backward()
mg.save(path("mygrad_gradient.npz"), x)
expected["mygrad_gradient.npz"] = {"data": entry(x.data), "grad": entry(x.grad)}
y = mg.tensor([1.0, 2.0], dtype=np.float32)
mg.save(path("mygrad_plain.npz"), y)
expected["mygrad_plain.npz"] = {"data": entry(y.data)}

# --- .safetensors ------------------------------------------------------------------------------

import safetensors

wide = {
    "f64": ("float64", sample("float64", (2, 3)), "float64"),
    "f32": ("float32", sample("float32", (5,)), "float32"),
    "i64": ("int64", sample("int64", (3,)), "int64"),
    "i32": ("int32", sample("int32", (2, 1, 2)), "int32"),
    "u8": ("uint8", sample("uint8", (3,)), "uint8"),
    "bool": ("bool", sample("bool", (5,)), "bool"),
    "f16": ("float16", sample("float16", (6,)), "float16"),
    "i16": ("int16", sample("int16", (3,)), "int32"),
    "i8": ("int8", sample("int8", (3,)), "int32"),
    "u16": ("uint16", sample("uint16", (3,)), "int32"),
    "u32": ("uint32", np.array([1, 2**32 - 1], np.uint32), "int64"),
    "scalar": ("float32", np.array(1.5, np.float32), "float32"),
    "empty": ("float32", np.zeros((0, 3), np.float32), "float32"),
    "a \"name\"\n\\ ü": ("float32", np.ones((1,), np.float32), "float32"),
}
given = {name: (dtype, np.ascontiguousarray(x).reshape(x.shape)) for name, (dtype, x, _) in wide.items()}
# The upper halves of float32 numbers; and one that is no number of LazyGrad's.
brain = np.array([1.0, -2.5, 3.389531389251535e38, np.inf], np.float32)
given["bf16"] = ("bfloat16", (brain.view(np.uint32) >> 16).astype("<u2"))
given["u64"] = ("uint64", np.zeros(1, np.uint64))
metadata = {"format": "pt", "note": "ä \"quoted\" text"}


def write(name, tensors, metadata):
    specs = {
        key: safetensors.TensorSpec(
            dtype=dtype, shape=x.shape, data_ptr=x.ctypes.data, data_len=x.nbytes
        )
        for key, (dtype, x) in tensors.items()
    }
    with open(path(name), "wb") as file:
        file.write(bytes(safetensors.serialize(specs, metadata=metadata)))


write("all.safetensors", given, metadata)
tensors = {name: entry(x.astype(read), read) for name, (_, x, read) in wide.items()}
tensors["bf16"] = entry((brain.view(np.uint32) & 0xFFFF0000).view(np.float32), "bfloat16")
expected["all.safetensors"] = {
    "tensors": tensors, "metadata": metadata, "unsupported": {"u64": "U64"}
}

# What the writer is to give byte for byte.
plain = ["f64", "f32", "f16", "bf16", "i64", "i32", "u8", "bool", "scalar", "empty"]
write("plain.safetensors", {name: given[name] for name in plain}, {"step": "1000"})
expected["plain.safetensors"] = {
    "tensors": {name: tensors[name] for name in plain}, "metadata": {"step": "1000"}
}

with open(path("expected.json"), "w") as file:
    json.dump(expected, file, indent=1, ensure_ascii=False)
    file.write("\n")
