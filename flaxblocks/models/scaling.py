"""How networks round the channel counts that a width factor gives."""


def make_divisible(features: float, divisor: int = 8, least: float = 0.9) -> int:
    """Return the multiple of `divisor` nearest to `features`, but at least 90 % of it.

    Args:
        features: channels, perhaps fractional.
        divisor: what the result is a multiple of.
        least: fraction of `features` that the result must not fall below.

    Returns:
        The rounded channels, at least `divisor`.

    Source: the released code of MobileNetV2 (Sandler et al. 2018).
    """
    nearest = max(divisor, int(features + divisor / 2) // divisor * divisor)
    return nearest if nearest >= least * features else nearest + divisor
