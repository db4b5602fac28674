"""The parts of a training loop, each usable alone."""

from flaxblocks.train.images import as_float as as_float
from flaxblocks.train.images import normalise as normalise
from flaxblocks.train.losses import cross_entropy as cross_entropy
from flaxblocks.train.metrics import add as add
from flaxblocks.train.metrics import means as means
from flaxblocks.train.mixing import Mixing as Mixing
from flaxblocks.train.recipes import RECIPES as RECIPES
from flaxblocks.train.recipes import Recipe as Recipe
from flaxblocks.train.schedules import Cosine as Cosine
from flaxblocks.train.schedules import Decay as Decay
from flaxblocks.train.sharding import make_mesh as make_mesh
from flaxblocks.train.sharding import place_state as place_state
from flaxblocks.train.sharding import replicate as replicate
from flaxblocks.train.sharding import shard_batch as shard_batch
from flaxblocks.train.sharding import shard_largest as shard_largest
from flaxblocks.train.state import TrainState as TrainState
from flaxblocks.train.state import create_state as create_state
from flaxblocks.train.step import make_eval_step as make_eval_step
from flaxblocks.train.step import make_train_step as make_train_step
