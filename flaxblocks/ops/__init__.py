"""Pure functions on arrays: what runs on the device, and how it is lowered."""

from flaxblocks.ops.chunks import in_chunks as in_chunks
from flaxblocks.ops.conv.door import conv_general_dilated as conv_general_dilated
from flaxblocks.ops.pool import adaptive_average_pool as adaptive_average_pool
from flaxblocks.ops.pool import average_pool as average_pool
from flaxblocks.ops.pool import blur_pool as blur_pool
from flaxblocks.ops.pool import max_pool as max_pool
from flaxblocks.ops.pool import mean_pool as mean_pool
from flaxblocks.ops.resize import bilinear_resize as bilinear_resize
from flaxblocks.ops.resize import nearest_resize as nearest_resize
from flaxblocks.ops.switch import convolution as convolution
