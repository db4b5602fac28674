"""Photographs as the input of a network that was trained on ImageNet."""

from flaxblocks.preprocess.transform import Preprocess as Preprocess
