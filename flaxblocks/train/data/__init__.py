"""Images and labels for training: where they are, what is done to them, and in which order."""

from flaxblocks.train.data.augment import Augment as Augment
from flaxblocks.train.data.augment import ColourJitter as ColourJitter
from flaxblocks.train.data.augment import RandomCrop as RandomCrop
from flaxblocks.train.data.augment import flip as flip
from flaxblocks.train.data.damage import Damage as Damage
from flaxblocks.train.data.erase import Erase as Erase
from flaxblocks.train.data.folder import ImageFolder as ImageFolder
from flaxblocks.train.data.named import AUGMENTATIONS as AUGMENTATIONS
from flaxblocks.train.data.named import make_augment as make_augment
from flaxblocks.train.data.pipeline import Feed as Feed
from flaxblocks.train.data.pipeline import evaluation_batches as evaluation_batches
from flaxblocks.train.data.pipeline import training_batches as training_batches
from flaxblocks.train.data.policies import RandAugment as RandAugment
from flaxblocks.train.data.policies import autoaugment as autoaugment
from flaxblocks.train.data.records import Records as Records
from flaxblocks.train.data.source import Source as Source
