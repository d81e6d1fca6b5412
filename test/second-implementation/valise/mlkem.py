"""ML-KEM-768 (FIPS 203), as short as it can be said. For tests: nothing here runs in constant time."""
import hashlib

Q, N, K = 3329, 256, 3


def _reversed_bits(n):
    return int(f"{n:07b}"[::-1], 2)


ZETAS = [pow(17, _reversed_bits(i), Q) for i in range(128)]
GAMMAS = [pow(17, 2 * _reversed_bits(i) + 1, Q) for i in range(128)]


def _ntt(f):
    f, i, length = list(f), 1, 128
    while length >= 2:
        for start in range(0, N, 2 * length):
            zeta, i = ZETAS[i], i + 1
            for j in range(start, start + length):
                t = zeta * f[j + length] % Q
                f[j + length], f[j] = (f[j] - t) % Q, (f[j] + t) % Q
        length //= 2
    return f


def _inverse_ntt(f):
    f, i, length = list(f), 127, 2
    while length <= 128:
        for start in range(0, N, 2 * length):
            zeta, i = ZETAS[i], i - 1
            for j in range(start, start + length):
                t = f[j]
                f[j], f[j + length] = (t + f[j + length]) % Q, zeta * (f[j + length] - t) % Q
        length *= 2
    return [x * 3303 % Q for x in f]


def _multiply(f, g):
    h = [0] * N
    for i in range(128):
        a0, a1, b0, b1 = f[2 * i], f[2 * i + 1], g[2 * i], g[2 * i + 1]
        h[2 * i], h[2 * i + 1] = (a0 * b0 + a1 * b1 * GAMMAS[i]) % Q, (a0 * b1 + a1 * b0) % Q
    return h


def _add(f, g):
    return [(a + b) % Q for a, b in zip(f, g)]


def _dot(fs, gs):
    total = [0] * N
    for f, g in zip(fs, gs):
        total = _add(total, _multiply(f, g))
    return total


def _to_bytes(f, d):
    return sum(x << (d * i) for i, x in enumerate(f)).to_bytes(32 * d, "little")


def _from_bytes(data, d):
    n = int.from_bytes(data, "little")
    return [n >> (d * i) & ((1 << d) - 1) for i in range(N)]


def _compress(f, d):
    return [((x << d) + Q // 2) // Q & ((1 << d) - 1) for x in f]


def _decompress(f, d):
    return [(x * Q + (1 << (d - 1))) >> d for x in f]


def _uniform(rho, i, j):
    stream, out, at = hashlib.shake_128(rho + bytes([j, i])).digest(1344), [], 0
    while len(out) < N:
        if at + 3 > len(stream):
            stream = hashlib.shake_128(rho + bytes([j, i])).digest(2 * len(stream))
        a, b, c = stream[at : at + 3]
        out += [x for x in (a | (b & 15) << 8, b >> 4 | c << 4) if x < Q]
        at += 3
    return out[:N]


def _noise(seed, nonce):
    bits = int.from_bytes(hashlib.shake_256(seed + bytes([nonce])).digest(128), "little")
    halves = [(bits >> 2 * i & 1) + (bits >> 2 * i + 1 & 1) for i in range(2 * N)]
    return [(halves[2 * i] - halves[2 * i + 1]) % Q for i in range(N)]


def _g(data):
    out = hashlib.sha3_512(data).digest()
    return out[:32], out[32:]


def key_pair(d, z):
    """(encapsulation key, what decapsulation needs)"""
    rho, sigma = _g(d + bytes([K]))
    s = [_ntt(_noise(sigma, i)) for i in range(K)]
    e = [_ntt(_noise(sigma, K + i)) for i in range(K)]
    t = [_add(_dot([_uniform(rho, i, j) for j in range(K)], s), e[i]) for i in range(K)]
    ek = b"".join(_to_bytes(f, 12) for f in t) + rho
    return ek, (s, ek, z)


def is_reduced(ek):
    """FIPS 203 §7.2: no coefficient of the key is Q or more."""
    return len(ek) == 1184 and all(x < Q for i in range(K) for x in _from_bytes(ek[384 * i : 384 * (i + 1)], 12))


def _encrypt(ek, m, coins):
    t, rho = [_from_bytes(ek[384 * i : 384 * (i + 1)], 12) for i in range(K)], ek[1152:]
    y = [_ntt(_noise(coins, i)) for i in range(K)]
    e1 = [_noise(coins, K + i) for i in range(K)]
    u = [_add(_inverse_ntt(_dot([_uniform(rho, j, i) for j in range(K)], y)), e1[i]) for i in range(K)]
    v = _add(_add(_inverse_ntt(_dot(t, y)), _noise(coins, 2 * K)), _decompress(_from_bytes(m, 1), 1))
    return b"".join(_to_bytes(_compress(f, 10), 10) for f in u) + _to_bytes(_compress(v, 4), 4)


def encapsulate(ek, m):
    shared, coins = _g(m + hashlib.sha3_256(ek).digest())
    return _encrypt(ek, m, coins), shared


def decapsulate(secret, c):
    s, ek, z = secret
    u = [_ntt(_decompress(_from_bytes(c[320 * i : 320 * (i + 1)], 10), 10)) for i in range(K)]
    v = _decompress(_from_bytes(c[960:], 4), 4)
    w = _inverse_ntt(_dot(s, u))
    m = _to_bytes(_compress([(a - b) % Q for a, b in zip(v, w)], 1), 1)
    shared, coins = _g(m + hashlib.sha3_256(ek).digest())
    if _encrypt(ek, m, coins) != c:
        return hashlib.shake_256(z + c).digest(32)
    return shared
