"""PyTorch's parameter names and layouts, to and from NNX modules."""

from flaxblocks.weights.files import load_weights as load_weights
from flaxblocks.weights.files import save_weights as save_weights
from flaxblocks.weights.files import torch_state_dict as torch_state_dict
from flaxblocks.weights.pretrained import save_pretrained as save_pretrained
from flaxblocks.weights.state_dict import load_state_dict as load_state_dict
from flaxblocks.weights.state_dict import state_dict as state_dict
