"""Pure functions on arrays: what runs on the device, and how it is lowered."""

from flaxblocks.ops.conv import conv_general_dilated as conv_general_dilated
