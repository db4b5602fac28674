"""The parts of a training loop, each usable alone."""

from flaxblocks.train.optim.schedules import Cosine as Cosine
from flaxblocks.train.optim.schedules import Decay as Decay
from flaxblocks.train.run.recipes import RECIPES as RECIPES
from flaxblocks.train.run.recipes import Recipe as Recipe
from flaxblocks.train.step.evaluation import add as add
from flaxblocks.train.step.evaluation import means as means
from flaxblocks.train.step.losses import cross_entropy as cross_entropy
from flaxblocks.train.step.mixing import Mixing as Mixing
from flaxblocks.train.step.normalize import as_float as as_float
from flaxblocks.train.step.normalize import normalize as normalize
from flaxblocks.train.step.sharding import make_mesh as make_mesh
from flaxblocks.train.step.sharding import place_state as place_state
from flaxblocks.train.step.sharding import replicate as replicate
from flaxblocks.train.step.sharding import shard_batch as shard_batch
from flaxblocks.train.step.sharding import shard_largest as shard_largest
from flaxblocks.train.step.state import TrainState as TrainState
from flaxblocks.train.step.state import create_state as create_state
from flaxblocks.train.step.train_step import make_eval_step as make_eval_step
from flaxblocks.train.step.train_step import make_train_step as make_train_step
