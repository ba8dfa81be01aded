#!/usr/bin/env python3
"""Writes elementary.txt: exact values of elementary functions where they are hard to compute.

Needs mpmath (1.3 was used) and nothing else: python3 elementary.py > elementary.txt

A line is: operation, type (32 or 64), bits of x, bits of y or -, bits of the nearest number of the type,
how far the exact value is above it in units in the last place, and the unit's exponent. The unit is
that of the exact value's binade, or the smallest one.
"""

import math
import random
import struct

import mpmath as mp

mp.mp.prec = 2600
random.seed(11)

TYPES = {
    # digits, smallest unit's exponent, largest exponent, struct codes
    32: (24, -149, 127, "f", "I"),
    64: (53, -1074, 1023, "d", "Q"),
}


def bits(value, kind):
    _, _, _, number, integer = TYPES[kind]
    return struct.unpack(integer, struct.pack(number, value))[0]


def from_bits(pattern, kind):
    _, _, _, number, integer = TYPES[kind]
    return struct.unpack(number, struct.pack(integer, pattern))[0]


def rounded(value, kind):
    """A Python float that is a number of the type."""
    if kind == 64:
        return float(value)
    return struct.unpack("f", struct.pack("f", float(value)))[0]


FUNCTIONS = {
    "exp": mp.exp,
    "expm1": mp.expm1,
    "log": mp.log,
    "log1p": mp.log1p,
    "sin": mp.sin,
    "cos": mp.cos,
    "tanh": mp.tanh,
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
    "erf": mp.erf,
    "cbrt": lambda x: mp.sign(x) * mp.cbrt(abs(x)),
    "exp2": lambda x: mp.mpf(2) ** x,
    "log2": lambda x: mp.log(x, 2),
    "log10": mp.log10,
    "tan": mp.tan,
    "arcsin": mp.asin,
    "arccos": mp.acos,
    "arctan": mp.atan,
    "sinh": mp.sinh,
    "cosh": mp.cosh,
    "lgamma": lambda x: mp.log(abs(mp.gamma(x))),
}
# Of two operands. C's remainder is exact.
FUNCTIONS2 = {
    "pow": lambda x, y: x ** y,
    "arctan2": mp.atan2,
    "hypot": mp.hypot,
    "polygamma": lambda n, x: mp.polygamma(int(n), x),
    "fmod": lambda x, y: mp.mpf(math.fmod(float(x), float(y))),
}

lines = []
seen = set()


def add(name, kind, x, y=None):
    digits, smallest, largest, _, _ = TYPES[kind]
    key = (name, kind, x, y)
    if key in seen:
        return
    seen.add(key)
    X = mp.mpf(x)
    # Two values next to each other cancel: angles and powers need many digits, the rest few.
    mp.mp.prec = 2600 if name in ("sin", "cos", "tan") else 400
    exact = FUNCTIONS2[name](X, mp.mpf(y)) if name in FUNCTIONS2 else FUNCTIONS[name](X)
    if exact == 0 or mp.isnan(exact):
        return
    exponent = max(int(mp.floor(mp.log(abs(exact), 2))) - digits + 1, smallest)
    # The logarithm's floor may be off next to a power of two.
    while abs(exact) >= mp.mpf(2) ** (exponent + digits):
        exponent += 1
    while exponent > smallest and abs(exact) < mp.mpf(2) ** (exponent + digits - 1):
        exponent -= 1
    whole = int(mp.nint(exact / mp.mpf(2) ** exponent))
    near = mp.mpf(whole) * mp.mpf(2) ** exponent
    if abs(near) >= mp.mpf(2) ** (largest + 1):
        return
    above = float((exact - near) / mp.mpf(2) ** exponent)
    lines.append(
        f"{name} {kind} {bits(x, kind):x} {'-' if y is None else format(bits(y, kind), 'x')} "
        f"{bits(float(near), kind):x} {above:.6f} {exponent}")


def nearest_angles(exponent, digits):
    """The numbers m * 2^exponent, with a whole m of so many binary digits, that are closest to
    multiples of pi/2: m is the denominator of a convergent of 2^exponent * 2/pi."""
    mp.mp.prec = 2600
    ratio = mp.mpf(2) ** exponent * 2 / mp.pi
    p0, q0, p1, q1 = 0, 1, 1, 0
    rest = ratio
    found = []
    for _ in range(2000):
        a = int(mp.floor(rest))
        p0, q0, p1, q1 = p1, q1, a * p1 + p0, a * q1 + q0
        if q1 >= 1 << digits:
            break
        if q1 >= 1 << (digits - 1):
            found.append(q1)
        fraction = rest - a
        if fraction == 0:
            break
        rest = 1 / fraction
    if not found and q0:
        # A multiple of the last convergent that is short.
        found.append(q0 * (((1 << digits) - 1) // q0))
    return [m for m in found if (1 << (digits - 1)) <= m < (1 << digits)]


# Angles next to multiples of pi/2, in every binade.
worst = 1
for kind, (digits, _, largest, _, _) in TYPES.items():
    for exponent in range(-digits, largest - digits + 2):
        for m in nearest_angles(exponent, digits)[-1:]:
            x = rounded(mp.mpf(m) * mp.mpf(2) ** exponent, kind)
            mp.mp.prec = 2600
            distance = abs(mp.mpf(x) * 2 / mp.pi - mp.nint(mp.mpf(x) * 2 / mp.pi))
            if distance < mp.mpf(2) ** -(digits - 12):
                # The one that is close to zero shows the reduction; of the other only some are kept.
                k = int(mp.nint(mp.mpf(x) * 2 / mp.pi))
                add("cos" if k % 2 else "sin", kind, x)
                if exponent % 16 == 0:
                    add("sin" if k % 2 else "cos", kind, -x)

# The numbers next to small multiples, and next to the borders of the quick reductions.
for kind in TYPES:
    for k in list(range(1, 60)) + [636619, 636620, 63661, 63662, 5000, 409104]:
        mp.mp.prec = 200
        x = rounded(k * mp.pi / 2, kind)
        add("cos" if k % 2 else "sin", kind, x)
        add("sin" if k % 2 else "cos", kind, -x)
    for border in (1e5, 1e6):
        for i in range(-20, 21):
            x = from_bits(bits(border, kind) + i, kind)
            add("sin", kind, x)
            add("cos", kind, x)
for x in (642615.9188844458, 1126833495400.4492, 1.2853022199154463e174, 1.7976931348623157e308,
          3.4028234663852886e38, 2.0 ** 1023, 2.0 ** 62, 1e22):
    for kind in TYPES:
        if x <= 3.5e38 or kind == 64:
            add("sin", kind, rounded(x, kind))
            add("cos", kind, rounded(x, kind))

# Angles of all sizes.
for kind, (_, _, largest, _, _) in TYPES.items():
    for _ in range(500):
        x = rounded(random.uniform(1, 2) * 2.0 ** random.randint(-3, largest), kind)
        add(random.choice(["sin", "cos"]), kind, random.choice([1, -1]) * x)

# The other functions, where their formulas change and where results are denormal or overflow.
RANGES = {
    "exp": [(-1, 1), (-87, 88), (-745, 709)],
    "expm1": [(-1.2, 1.2), (0.33, 0.38), (-0.38, -0.33), (-38, 40)],
    "log": [(0.5, 2), (0.69, 0.72), (1.39, 1.43), (1e-3, 1e6)],
    "log1p": [(-0.9, 1), (-0.31, -0.28), (0.39, 0.43), (1e-9, 1e-3), (1, 1e6)],
    "tanh": [(-1, 1), (0.6, 0.7), (0.5, 6)],
    "sigmoid": [(-2, 2), (-20, 20), (-87, 20), (-700, 30)],
    "erf": [(-1.1, 1.1), (1, 1.2), (0.5, 5)],
}
for name, ranges in RANGES.items():
    for kind in TYPES:
        for low, high in ranges:
            for _ in range(40):
                x = rounded(random.uniform(low, high), kind)
                add(name, kind, x)
for kind, (digits, smallest, largest, _, _) in TYPES.items():
    for _ in range(60):
        tiny = rounded(random.uniform(1, 2) * 2.0 ** random.randint(smallest, smallest + digits), kind)
        huge = rounded(random.uniform(1, 2) * 2.0 ** random.randint(0, largest), kind)
        add("log", kind, tiny)
        add("log", kind, huge)
        add("log1p", kind, huge)
        for name in ("expm1", "log1p", "tanh", "erf", "sin"):
            add(name, kind, -tiny)
        edge = smallest * 0.6931
        add("exp", kind, rounded(edge + random.uniform(0, 40), kind))
        add("sigmoid", kind, rounded(edge + random.uniform(0, 40), kind))

# Powers: of all sizes, next to 1 with large exponents, denormal results, small whole exponents.
for kind, (digits, smallest, largest, _, _) in TYPES.items():
    for _ in range(150):
        x = rounded(random.uniform(1, 2) * 2.0 ** random.randint(smallest, largest), kind)
        if x == 0 or x == 1:
            continue
        size = mp.log(mp.mpf(x), 2)
        y = rounded(mp.mpf(random.uniform(smallest, largest)) / size, kind)
        add("pow", kind, x, y)
        near = rounded(1 + random.uniform(-1, 1) * 2.0 ** -random.randint(1, digits - 2), kind)
        if near != 1:
            size = mp.log(mp.mpf(near), 2)
            y = rounded(mp.mpf(random.uniform(smallest, largest)) / size, kind)
            add("pow", kind, near, y)
        add("pow", kind, rounded(random.uniform(0.5, 2), kind), rounded(random.uniform(-9, 9), kind))
        add("pow", kind, rounded(random.uniform(0, 10), kind), float(random.randint(-30, 30)))
        low = rounded(random.uniform(0.1, 0.9), kind)
        y = rounded(mp.mpf(smallest + random.uniform(0, digits)) / mp.log(mp.mpf(low), 2), kind)
        add("pow", kind, low, y)
        add("pow", kind, -low, float(random.randint(1, 40)))

# Cube roots: where the fit's pieces meet, of all sizes, cubes and their neighbours.
for kind, (digits, smallest, largest, _, _) in TYPES.items():
    for border in (0.5, 1, 2, 4, 8):
        for _ in range(20):
            add("cbrt", kind, rounded(border * random.uniform(0.99, 1.01) * 2 ** -0.5, kind))
    for _ in range(150):
        x = rounded(random.uniform(1, 2) * 2.0 ** random.randint(smallest, largest), kind)
        add("cbrt", kind, random.choice([1, -1]) * x)
    for k in range(1, 40):
        for i in (-1, 0, 1):
            add("cbrt", kind, from_bits(bits(float(k ** 3), kind) + i, kind))

# Functions that came later, so that the lines before stay as they are. Tangents next to multiples of pi/2.
for kind, (digits, _, largest, _, _) in TYPES.items():
    for exponent in range(-digits, largest - digits + 2, 3):
        for m in nearest_angles(exponent, digits)[-1:]:
            add("tan", kind, rounded(mp.mpf(m) * mp.mpf(2) ** exponent, kind))
    for k in list(range(1, 60)) + [636619, 636620, 63661, 63662, 5000, 409104]:
        mp.mp.prec = 200
        add("tan", kind, rounded(k * mp.pi / 2, kind))
        add("tan", kind, -rounded(k * mp.pi / 4, kind))
    for border in (1e5, 1e6):
        for i in range(-5, 6):
            add("tan", kind, from_bits(bits(border, kind) + i, kind))
    for _ in range(150):
        x = rounded(random.uniform(1, 2) * 2.0 ** random.randint(-3, largest), kind)
        add("tan", kind, random.choice([1, -1]) * x)

LATER = {
    "exp2": [(-1, 1), (0.49, 0.51), (-125, 127), (-1020, 1023)],
    "log2": [(0.5, 2), (0.69, 0.72), (1.39, 1.43), (0.99, 1.01), (1e-3, 1e6)],
    "log10": [(0.5, 2), (0.69, 0.72), (1.39, 1.43), (0.99, 1.01), (1e-3, 1e6)],
    "tan": [(-1, 1), (0.7, 0.8), (1.5, 1.6), (-100, 100)],
    "arcsin": [(-1, 1), (0.49, 0.51), (0.9, 1), (-1, -0.99), (0.97, 0.98)],
    "arccos": [(-1, 1), (0.49, 0.51), (0.9, 1), (-1, -0.99), (-0.51, -0.49)],
    "arctan": [(-1, 1), (0.42, 0.45), (0.67, 0.7), (1.17, 1.2), (2.4, 2.5), (-100, 100)],
    "sinh": [(-1, 1), (1.03, 1.05), (0.3, 0.4), (-5, 5), (-88, 89), (-709, 710)],
    "cosh": [(-1, 1), (0.34, 0.36), (1.03, 1.05), (-5, 5), (-88, 89), (-709, 710)],
}
for name, ranges in LATER.items():
    for kind in TYPES:
        for low, high in ranges:
            for _ in range(40):
                add(name, kind, rounded(random.uniform(low, high), kind))
for kind, (digits, smallest, largest, _, _) in TYPES.items():
    for _ in range(40):
        tiny = rounded(random.uniform(1, 2) * 2.0 ** random.randint(smallest, smallest + digits), kind)
        huge = rounded(random.uniform(1, 2) * 2.0 ** random.randint(0, largest), kind)
        for name in ("log2", "log10"):
            add(name, kind, tiny)
            add(name, kind, huge)
        for name in ("tan", "arcsin", "arctan", "sinh", "cosh"):
            add(name, kind, -tiny)
        add("arctan", kind, huge)
        add("exp2", kind, rounded(smallest + random.uniform(-1, 30), kind))

# Angles of points: where the fit's pieces meet, in every quadrant, of all sizes. Remainders.
for kind, (digits, smallest, largest, _, _) in TYPES.items():
    for border in (0.4375, 0.6875, 1, 1.1875, 2.4375):
        for _ in range(15):
            x = rounded(random.uniform(0.5, 2), kind)
            y = rounded(x * border * random.uniform(0.98, 1.02), kind)
            add("arctan2", kind, random.choice([1, -1]) * y, random.choice([1, -1]) * x)
    for _ in range(150):
        size = random.randint(smallest, largest)
        other = min(max(size + random.randint(-digits, digits), smallest), largest)
        y = rounded(random.uniform(1, 2) * 2.0 ** size, kind)
        x = rounded(random.uniform(1, 2) * 2.0 ** other, kind)
        add("arctan2", kind, random.choice([1, -1]) * y, random.choice([1, -1]) * x)
        add("fmod", kind, random.choice([1, -1]) * y, random.choice([1, -1]) * x)
        a, b = random.uniform(-100, 100), random.uniform(-3, 3)
        add("fmod", kind, rounded(a, kind), rounded(b, kind))

# Lengths of vectors of all sizes and of alike components.
for kind, (digits, smallest, largest, _, _) in TYPES.items():
    for _ in range(150):
        x = rounded(random.uniform(1, 2) * 2.0 ** random.randint(smallest, largest), kind)
        y = rounded(x * 2.0 ** random.uniform(-20, 20), kind)
        add("hypot", kind, x, rounded(x * random.uniform(-1, 1), kind))
        if math.isfinite(y):
            add("hypot", kind, y, -x)

# The gamma function's logarithm and its derivatives: small and large numbers, on both sides of 0.
for kind in TYPES:
    for _ in range(60):
        for low, high in ((0.01, 3), (3, 40), (-6, 0), (1e3, 1e8)):
            x = rounded(random.uniform(low, high), kind)
            add("lgamma", kind, x)
            # Next to its zeros digamma's error is not in units of its own.
            if abs(mp.digamma(x)) > 0.5:
                add("polygamma", kind, 0.0, x)
            # Where the derivatives of the cotangent cancel, errors are those of the larger terms.
            if x > 0:
                add("polygamma", kind, float(random.randint(1, 6)), x)

print("\n".join(lines))
