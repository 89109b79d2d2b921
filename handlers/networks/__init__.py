"""Networks, and parts of them, that are ours. They import torch: only loaders import them."""
