"""Compiled order statistics of target cells: quantiles, modes, class fractions.

Values are compared as integer keys that keep the order of floats, and areas are added as integers (2**60 is the
whole valid area of a cell): integer sums are exact, so that neither the order of a list nor vector instructions can
show in a result. A key is 32 bits wide for float32 and 64 for float64; its largest number stands for a missing value.
"""

# numba infers the types of what it compiles:
# mypy: allow-untyped-defs, allow-incomplete-defs

from __future__ import annotations

import numpy as np

from xsoil.jit import kernel

QUANTILE, MODE, STD, FRACTION = range(4)
"""Operators; the standard deviation is computed where the lists are."""

TIE = 1e-9
"""Shares of the valid area (quantile), or areas relative to the largest (mode), that count as equal."""

WHOLE = 2.0**60
"""The valid area of a cell in integer units of area."""

PAD = 32
"""Scratch is filled up to a multiple of this, so that vector loops have no rest."""

FEW = 256
"""Whole numbers from 0 to below this are tallied by index, other values by hash."""

SHORT, SLOT_BITS = 512, 13
"""Lists up to this length can be searched for repeated values; bits of the number of slots that they then have."""

UNSEEN = 15
"""Cells that need not be searched for repeated values after one that has some."""


@kernel
def scratch(bits, size, tallied):
    """Working arrays for cells of up to `size` values: keys in the width of `bits`, weights, and the tally.

    The tally (a small one unless `tallied`) is the counts of small whole numbers, the hash table, the places that
    share a slot, and the number from which entries of the table belong to the present cell (one array).
    """
    room = -(-size // PAD) * PAD + PAD  # what is filled up once may be filled up again
    keys, weights = np.empty(room, bits.dtype), np.empty(room, np.int64)
    size = room if tallied else 1
    tally = (
        np.zeros(2 * (FEW + 1), np.int64),
        np.full(_slots(size)[0], -1),
        np.empty(size + 1, np.int64),
        np.zeros(1, np.int64),
    )
    return keys, weights, tally


@kernel
def twin_scratch():
    """Working arrays of `have_twins`."""
    return np.empty((1 << SLOT_BITS) + SHORT, np.int16), np.empty(SHORT, np.uint16), np.empty(SHORT, np.int32)


@kernel
def _slots(size):
    """Slots of the hash table for that many values (many while they fit the first-level cache), and their bits."""
    slots, width = 2048, 11
    while slots < 2 * size:
        slots *= 2
        width += 1
    return slots, width


@kernel
def largest(spot):
    """The largest integer of that width, here a missing value, and the key of infinity."""
    if spot.itemsize == 4:
        return spot.dtype.type(0x7FFFFFFF), spot.dtype.type(0x7F800000)
    return spot.dtype.type(0x7FFFFFFFFFFFFFFF), spot.dtype.type(0x7FF0000000000000)


@kernel
def key_of(bits, missing, infinite):
    """Key of a float's bits: both zeros are one, every NaN is `missing`."""
    key = bits ^ (missing if bits < 0 else 0)
    key = 0 if key == -1 else key
    return missing if (bits & missing) > infinite else key


@kernel
def value_of(key, missing, spot, number):
    """The float of a key, by way of `spot` and `number`, two views of the same bytes."""
    spot[0] = key if key >= 0 else key ^ missing
    return np.float64(number[0])


@kernel
def pad(keys, weights, n, missing):
    """Fill up with missing values of no weight; returns the padded number."""
    # Always so many: whole vectors, without a count.
    for i in range(PAD):
        keys[np.uint64(n) + np.uint64(i)] = missing
    for i in range(PAD):
        weights[np.uint64(n) + np.uint64(i)] = 0
    return -(-n // PAD) * PAD


@kernel
def _survey(keys, weights, m, missing):
    """Smallest and largest key, and the whole weight; takes the weight from missing values."""
    bottom = keys.dtype.type(~missing)
    low, high, whole = missing, bottom, np.int64(0)
    for i in range(m):
        known = keys[i] != missing
        weight = weights[i] if known else 0
        low = min(low, keys[i])
        high = max(high, keys[i] if known else bottom)
        weights[i] = weight
        whole += weight
    return low, high, whole


@kernel
def _split(keys, weights, m, pivot, missing):
    """Weight of keys up to the pivot, the largest of them, and the smallest of the others."""
    bottom, pivot = keys.dtype.type(~missing), keys.dtype.type(pivot)
    weight, below, above = np.int64(0), bottom, missing
    for i in range(m):
        k = keys[i]
        inside = k <= pivot
        weight += weights[i] if inside else 0
        below = max(below, k if inside else bottom)
        above = min(above, missing if inside else k)
    return weight, below, above


@kernel
def quantile_of(keys, weights, n, q, missing, spot, number):
    """Weighted quantile of the first n keys, not all of them missing; the scratch must have room for padding.

    A bracket of two values is narrowed by counting the weight up to a pivot between them: interpolated by value, and
    every third time halved by key, which bounds the number of passes by three times the bits.
    """
    m = pad(keys, weights, n, missing)
    low, high, whole = _survey(keys, weights, m, missing)
    # One way out of the function: each further one counts references of its arrays.
    high, low = low if q <= 0.0 else high, high if q >= 1.0 else low
    goal = q * whole
    enough, slack = np.int64(np.ceil((q - TIE) * whole)), TIE * whole
    before, reached, after = np.int64(0), whole, missing
    turn = 0
    while low < high:
        pivot = (low & high) + ((low ^ high) >> 1)
        if turn % 3 < 2:
            a, b = value_of(low, missing, spot, number), value_of(high, missing, spot, number)
            guess = a + (b - a) * ((goal - before) / (reached - before))
            if np.isfinite(guess):
                number[0] = guess
                key = spot[0] if spot[0] >= 0 else spot[0] ^ missing
                pivot = min(max(key, low), high - 1)
        weight, below, above = _split(keys, weights, m, pivot, missing)
        if weight >= enough:
            high, reached, after = below, weight, above
        else:
            low, before = above, weight
        turn += 1
    value = value_of(high, missing, spot, number)
    other = value_of(after, missing, spot, number) if abs(reached - goal) <= slack and after != missing else value
    return value if other == value else 0.5 * value + 0.5 * other


@kernel
def _slot(key, width):
    return np.int64(np.uint64(np.int64(key)) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(64 - width))


@kernel
def have_twins(keys, n, missing, slots, slot, met):
    """Whether a value that is not missing is there twice, in a list of up to SHORT keys.

    Each key writes its place into its slot; keys that do not find it there afterwards (few, if values differ) are
    compared with the one that wrote last, and with each other.
    """
    for i in range(n):
        mixed = np.uint32(np.uint32(np.uint32(keys[i]) ^ np.uint32(keys[i] >> 31)) * np.uint32(0x9E3779B1))
        place = np.uint32(mixed >> np.uint32(32 - SLOT_BITS))
        slot[i] = np.uint16(np.uint32((1 << SLOT_BITS) + i) if keys[i] == missing else place)
    for i in range(n):
        slots[slot[i]] = np.int16(i)
    count = np.uint64(0)
    for i in range(n):
        # Written always, counted where it holds.
        met[count] = i
        count += np.uint64(1) if slots[slot[i]] != i else np.uint64(0)
    overwritten, m, twins = np.int64(count), 0, False
    while m < overwritten and not twins:
        key = keys[met[m]]
        twins = keys[slots[slot[met[m]]]] == key
        for k in range(m):
            twins |= keys[met[k]] == key
        m += 1
    return twins


@kernel
def merge(keys, weights, n, tally):
    """Give the weight of equal keys to one of them, by open addressing.

    First every key that finds its slot free takes it, without a branch; those few (or equal ones) that did not are
    looked for afterwards. Entries of earlier cells are smaller than `base`; missing values have no weight to give.
    """
    _, table, shared, start = tally
    base, met = start[0], 0
    missing, _ = largest(keys)
    slots, width = _slots(n)
    for i in range(n):
        at = _slot(keys[i], width)
        taken = table[at] >= base
        table[at] = table[at] if taken else base + i
        shared[met] = i
        met += taken & (keys[i] != missing)
    for m in range(met):
        i = shared[m]
        at = _slot(keys[i], width)
        while table[at] >= base and keys[table[at] - base] != keys[i]:
            at = (at + 1) & (slots - 1)
        if table[at] < base:
            table[at] = base + i
        else:
            weights[table[at] - base] += weights[i]
            weights[i] = 0
    start[0] = base + n


@kernel
def classes_of(keys, floats, n, out, missing):
    """Of the first n values small whole numbers as they are, anything else as FEW; returns the largest, -1 (and may
    leave `out` as it is) if there is another value.

    `floats` are the same bytes as `keys`: keys of positive floats are their bits.
    """
    most_class, first = np.int32(-1), 0
    while first < n - 1 and keys[first] == missing:
        first += 1
    # The first value mostly tells.
    if keys[first] == missing or (
        (keys[first] >= 0) & (floats[first] < FEW) & (floats[first] == np.floor(floats[first]))
    ):
        others, most_class = 0, np.int32(0)
        for i in range(n):
            small = (keys[i] >= 0) & (floats[i] < FEW)
            c = np.int32(floats[i] if small else FEW)
            others += (keys[i] != missing) & ((c == FEW) | (c != floats[i]))
            most_class = max(most_class, c if small else np.int32(0))
            out[i] = c
        most_class = np.int32(-1) if others > 0 else most_class
    return np.int64(most_class)


@kernel
def count_classes(classed, weights, n, most_class, counts):
    """The areas of the classes 0..most_class among the first n values."""
    counts[: most_class + 1] = 0
    for i in range(n):
        counts[classed[i]] += weights[i]


@kernel
def mode_of_counts(counts, most_class):
    """The class with the largest area, the smallest of ties."""
    most, best = np.int64(0), most_class
    for c in range(most_class + 1):
        most = max(most, counts[c])
    least = np.int64(np.ceil(most - TIE * most))
    for c in range(most_class, -1, -1):
        best = c if counts[c] >= least else best
    return np.float64(best)


@kernel
def class_counts_of(classes):
    """Where the counts of small whole numbers hold each class; beyond them for other classes."""
    places = np.empty(classes.size, np.int64)
    for c in range(classes.size):
        small = (classes[c] >= 0) & (classes[c] < FEW)
        whole = np.int64(classes[c] if small else FEW)
        places[c] = whole if small & (whole == classes[c]) else FEW
    return places


@kernel
def fractions_of_counts(counts, most_class, places, out):
    """Share of each class in the counted area; `places` are from `class_counts_of`."""
    whole = np.int64(0)
    for c in range(most_class + 1):
        whole += counts[c]
    for c in range(np.uint64(places.size)):
        out[c] = counts[np.uint64(places[c])] / whole if places[c] <= most_class else 0.0


@kernel
def widest(keys, weights, n, missing):
    """The key of the largest weight, the smallest of ties."""
    most, best = np.int64(0), missing
    for i in range(n):
        most = max(most, weights[i])
    least = np.int64(np.ceil(most - TIE * most))
    for i in range(n):
        best = min(best, keys[i] if weights[i] >= least else missing)
    return best


@kernel
def mode_of(keys, weights, n, tally, missing, spot, number):
    """The value with the largest area of the first n keys, not all of them missing; the smallest of ties."""
    merge(keys, weights, n, tally)
    return value_of(widest(keys, weights, n, missing), missing, spot, number)


@kernel
def fractions_of(keys, weights, n, class_keys, tally, out):
    """Share of each class in the area of the first n keys, not all of them missing."""
    _, table, _, start = tally
    whole = np.int64(0)
    for i in range(n):
        whole += weights[i]
    base = start[0]
    merge(keys, weights, n, tally)
    slots, width = _slots(n)
    for c in range(class_keys.size):
        at = _slot(class_keys[c], width)
        while table[at] >= base and keys[table[at] - base] != class_keys[c]:
            at = (at + 1) & (slots - 1)
        out[c] = weights[table[at] - base] / whole if table[at] >= base else 0.0


@kernel
def class_keys_of(classes, spot, number, missing, infinite):
    """Keys of the classes, in the width of the values."""
    keys = np.empty(classes.size, spot.dtype)
    for c in range(classes.size):
        number[0] = classes[c]
        keys[c] = key_of(spot[0], missing, infinite)
    return keys
