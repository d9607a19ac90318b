"""Derives the coefficients of src/distribution/special/normal.rs and measures that file's worst errors.

Needs mpmath. Chebyshev series in 50 digits, cut where the rest is below a quarter of an ulp, as polynomials in plain
powers. The errors are those of the same operations in doubles, which Python rounds as Rust does.
"""

import struct

from mpmath import cos, erfc, exp, ln, mp, mpf, pi, sqrt

mp.dps = 50
FURTHEST = 39  # beyond it exp(-z²/2) is 0
POLE = mpf("4.5")


def chebyshev(f, degree, nodes=100):
    """The coefficients, lowest power first, of the truncated Chebyshev series of f on [-1, 1]."""
    angles = [pi * (k + mpf(1) / 2) / nodes for k in range(nodes)]
    values = [f(cos(angle)) for angle in angles]
    series = [2 * sum(v * cos(j * a) for v, a in zip(values, angles)) / nodes for j in range(degree + 1)]
    series[0] /= 2
    powers = [mpf(0)] * (degree + 1)
    older, old = [mpf(1)], [mpf(0), mpf(1)]
    for coefficient in series:
        for k, c in enumerate(older):
            powers[k] += coefficient * c
        newer = [mpf(0)] + [2 * c for c in old]
        for k, c in enumerate(older):
            newer[k] -= c
        older, old = old, newer
    return powers


def scaled_tail(z):
    return exp(z * z / 2) * erfc(z / sqrt(2))


# t = 1 - SLOPE z / (z + POLE) maps z = 0 .. FURTHEST to 1 .. -1.
SLOPE = 2 * (FURTHEST + POLE) / FURTHEST


def tail_factor(t):
    z = POLE * (1 - t) / (SLOPE - (1 - t))
    return (z + POLE) * scaled_tail(z)


HALF_LN_2 = ln(2) / 2


def exp_rest(u):
    r = u * HALF_LN_2
    return (exp(r) - 1 - r) / r**2


TAIL = [float(c) for c in chebyshev(tail_factor, 21)]
EXP = [float(c / mpf(HALF_LN_2) ** k) for k, c in enumerate(chebyshev(exp_rest, 9))]
LN_2_HIGH = float(mpf(int(ln(2) * 2**32)) / 2**32)
LN_2_LOW = float(ln(2) - mpf(LN_2_HIGH))


def polynomial(c, x):
    fourth = (x * x) * (x * x)
    pairs = [c[k] + c[k + 1] * x for k in range(0, len(c), 2)]
    sums = [pairs[-1], pairs[-2]]
    for k in range(len(pairs) - 3, -1, -1):
        sums[k % 2] = sums[k % 2] * fourth + pairs[k]
    return sums[0] + sums[1] * (x * x)


TAIL[0] += float(POLE) - polynomial(TAIL, 1.0)  # so that just half is above 0


def bits(x):
    return struct.unpack("<q", struct.pack("<d", x))[0]


def double(b):
    return struct.unpack("<d", struct.pack("<q", b))[0]


def exp_negative(x, rest):
    k = (x * float(1 / ln(2)) + 1.5 * 2**52) - 1.5 * 2**52
    r = ((x - k * LN_2_HIGH) - k * LN_2_LOW) + rest
    return (1.0 + (r + r * r * polynomial(EXP, r))) * 2.0 ** (int(k) + 128) * 2.0**-128


def compensated(z):
    head = double(bits(z) & ~0x7FFFFFF)
    return exp_negative(-0.5 * head * head, -0.5 * (z - head) * (z + head))


def tail(z):
    q = 1.0 / (z + float(POLE))
    return q * polynomial(TAIL, 1.0 - float(SLOPE) * (z * q))


def crps(z):
    away, weight = abs(z), exp_negative(-0.5 * z * z, 0.0)
    return away + weight * (float(sqrt(2 / pi)) - away * tail(away)) - float(1 / sqrt(pi))


def exact_crps(z):
    z = mpf(z)
    return z * (1 - erfc(z / sqrt(2))) + sqrt(2 / pi) * exp(-z * z / 2) - 1 / sqrt(pi)


def worst(f, exact, zs):
    gaps = [(abs(f(z) / exact(mpf(z)) - 1), z) for z in zs]
    gap, z = max(gaps)
    return f"{float(gap):.2e} at {z}"


def literal(value):
    digits, _, power = repr(value).partition("e")
    whole, fraction = digits.split(".")
    groups = [fraction[k : k + 3] for k in range(0, len(fraction), 3)]
    return f"{whole}.{'_'.join(groups)}" + (f"e{int(power)}" if power else "")


def rust(name, values):
    lines = "\n".join(f"    {literal(value)}," for value in values)
    print(f"const {name}: [f64; {len(values)}] = [\n{lines}\n];")


rust("EXP_REST", EXP)
rust("TAIL", TAIL)
for name, value in [
    ("SLOPE", SLOPE),
    ("LN_2_HIGH", LN_2_HIGH),
    ("LN_2_LOW", LN_2_LOW),
    ("SQRT_2_PI", sqrt(2 / pi)),
    ("FRAC_1_SQRT_2_PI", 1 / sqrt(2 * pi)),
]:
    print(f"const {name}: f64 = {literal(float(value))};")
zs = [k * 37.5 / 20011 for k in range(20011)] + [2.0**-k for k in range(60)]
print("exp(-z²/2):", worst(compensated, lambda z: exp(-z * z / 2), zs))
print("erfc(z/√2):", worst(lambda z: compensated(z) * tail(z), lambda z: erfc(z / sqrt(2)), zs))
print("CRPS:", worst(crps, exact_crps, zs))
