"""Convolutions that have native kernels, one of each kind and edge."""

from tests.helpers.convolutions import Configuration


def depthwise(x: tuple, window: tuple, *args, **kwargs) -> Configuration:
    return Configuration(x, (*window, 1, x[3]), *args, feature_group_count=x[3], **kwargs)


def grouped(x: tuple, window: tuple, width: int, *args, **kwargs) -> Configuration:
    kernel = (*window, width, x[3])
    return Configuration(x, kernel, *args, feature_group_count=x[3] // width, **kwargs)


def dense(x: tuple, window: tuple, outputs: int, *args, **kwargs) -> Configuration:
    return Configuration(x, (*window, x[3], outputs), *args, **kwargs)


TILES = [
    # Tiles of 2x2 results: rests at every edge; sums of more than 256 products.
    dense((2, 9, 12, 40), (3, 3), 56, (1, 1), ((0, 2), (2, -1))),
    dense((1, 11, 12, 272), (3, 3), 16),
]
GROUPS = [
    # Groups of a vector: more columns than are computed at once, both strides, cropped and padded.
    grouped((2, 5, 17, 48), (3, 3), 16),
    grouped((1, 9, 24, 32), (3, 3), 16, (2, 2), ((1, 1), (1, 1))),
    grouped((2, 6, 5, 32), (3, 3), 16, (1, 1), ((-1, 3), (2, -1))),
    # Of their kernels' gradients: more pixels than are summed at once, in bands and in none.
    grouped((2, 23, 34, 32), (3, 3), 16),
    grouped((1, 30, 64, 32), (3, 3), 16, (2, 2), ((0, 1), (1, 0))),
    Configuration((3, 9, 7, 40), (3, 3, 8, 80), (1, 1), "SAME", feature_group_count=5),
]
IN_FLOAT32 = [*TILES, *GROUPS]
"""What float32 has kernels of its own for."""
FORMS = [
    # One vector, several and a rest, short vectors, single channels; 7, 4, 2 and 1 pixels.
    depthwise((2, 5, 14, 16), (3, 3)),
    depthwise((1, 6, 16, 129), (5, 5)),
    depthwise((2, 9, 8, 24), (7, 7)),
    depthwise((3, 4, 5, 6), (3, 5), (1, 2)),
    depthwise((9, 3, 1, 3), (1, 1)),
    depthwise((1, 5, 3, 1), (2, 3), (2, 1)),
    depthwise((3, 8, 9, 10), (5, 3), (2, 1), ((2, 1), (0, 3))),
    depthwise((2, 9, 12, 20), (3, 4), (1, 1), "VALID", (2, 3)),
    # Cropped at every side; padded beyond what any tap sees; a stride wider than the kernel.
    depthwise((2, 9, 10, 17), (3, 3), (1, 2), ((-1, -2), (-2, -1))),
    depthwise((1, 3, 2, 18), (2, 2), (1, 2), ((4, 5), (3, 4))),
    depthwise((1, 9, 9, 4), (2, 1), (3, 3), "VALID"),
    grouped((2, 5, 9, 4), (3, 3), 4),
    grouped((2, 5, 9, 36), (3, 3), 4, (2, 2), ((1, 1), (1, 1))),
    grouped((1, 6, 7, 40), (2, 5), 4, (1, 1), ((0, 2), (-1, 3)), (2, 1)),
    grouped((2, 5, 8, 8), (3, 3), 8),
    grouped((2, 6, 5, 24), (3, 3), 8, (1, 2)),
    grouped((1, 4, 15, 128), (1, 3), 8),
    # Vectors in fours, twos and ones with a rest; sums of one product and of more than 256.
    dense((2, 5, 14, 64), (3, 3), 64),
    dense((1, 6, 9, 3), (7, 7), 48, (2, 2)),
    dense((2, 7, 8, 112), (3, 3), 16, (1, 1), ((0, 2), (-1, 3)), (2, 1)),
    dense((1, 4, 3, 304), (1, 2), 48),
    dense((2, 9, 10, 32), (3, 3), 112, (1, 2), ((-1, -2), (-2, -1))),
    grouped((2, 6, 9, 48), (3, 3), 16, (2, 1)),
    # 1x1: more pixels than weights, few pixels, many weights, most inputs, strided, padded.
    dense((2, 9, 8, 24), (1, 1), 40),
    dense((1, 1, 2, 331), (1, 1), 150),
    dense((1, 3, 2, 270), (1, 1), 150),
    dense((1, 3, 4, 600), (1, 1), 80),
    dense((2, 5, 6, 24), (1, 1), 40, (2, 2)),
    dense((2, 5, 6, 16), (1, 1), 24, (1, 1), ((1, 0), (0, 2))),
    # Inputs and gradients that share sets of the cache: one pixel more than two sums, a row out of
    # two, two taps.
    dense((1, 19, 27, 1024), (1, 1), 512),
    dense((1, 5, 6, 128), (1, 1), 512, (2, 2)),
    dense((1, 4, 5, 256), (2, 1), 528),
    # A row of the kernel as one tap: strided, padded and cropped beyond the image.
    dense((2, 9, 10, 3), (3, 3), 24, (2, 2), ((1, 1), (1, 1))),
    dense((1, 7, 5, 2), (4, 5), 16, (1, 2), ((-1, 4), (4, 3))),
    dense((1, 6, 8, 4), (2, 3), 16, (1, 1), ((1, 0), (-2, -1))),
    Configuration((2, 5, 6, 24), (3, 2, 12, 20), (1, 2), "SAME", feature_group_count=2),
    *IN_FLOAT32,
]
