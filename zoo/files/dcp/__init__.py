"""Folders of torch.distributed.checkpoint: .metadata, and files in which shards of tensors lie one behind the other."""
