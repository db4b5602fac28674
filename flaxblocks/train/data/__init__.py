"""Training data: sources of images, augmentation, and batches in a reproducible order."""

from flaxblocks.train.data.augment import CENTER_CROP as CENTER_CROP
from flaxblocks.train.data.augment import Augment as Augment
from flaxblocks.train.data.augment import ColorJitter as ColorJitter
from flaxblocks.train.data.augment import Flip as Flip
from flaxblocks.train.data.augment import RandomCrop as RandomCrop
from flaxblocks.train.data.augment import flip as flip
from flaxblocks.train.data.autoaugment import RandAugment as RandAugment
from flaxblocks.train.data.autoaugment import autoaugment as autoaugment
from flaxblocks.train.data.batches import Feed as Feed
from flaxblocks.train.data.batches import evaluation_batches as evaluation_batches
from flaxblocks.train.data.batches import training_batches as training_batches
from flaxblocks.train.data.growth import Growth as Growth
from flaxblocks.train.data.hugging_face import hugging_face as hugging_face
from flaxblocks.train.data.image_folder import ImageFolder as ImageFolder
from flaxblocks.train.data.random_erasing import RandomErasing as RandomErasing
from flaxblocks.train.data.records import Records as Records
from flaxblocks.train.data.source import Source as Source
from flaxblocks.train.data.split import evaluation_folder as evaluation_folder
from flaxblocks.train.data.split import training_folders as training_folders
from flaxblocks.train.data.tar_shards import TarShards as TarShards
from flaxblocks.train.data.timm_randaugment import TimmRandAugment as TimmRandAugment
from flaxblocks.train.data.trivialaugment import trivialaugment as trivialaugment
from flaxblocks.train.data.unreadable import UnreadableImages as UnreadableImages
