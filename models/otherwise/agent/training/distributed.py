"""Several processes of one training (torchrun), or just one."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import distributed


@dataclass(frozen=True)
class Processes:
    """This process among its siblings.

    Attributes:
        rank: 0 writes, shows and decides.
        count: Number of processes.
        local_rank: Index of this process on its machine: the number of its GPU.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @classmethod
    def from_environment(cls, device: str) -> Processes:
        """Join the group that torchrun announces in the environment; a lone process otherwise."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return cls()
        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
        return cls(distributed.get_rank(), count, int(os.environ.get("LOCAL_RANK", "0")))

    def agree(self, value: float) -> float:
        """Return the value of rank 0 on all ranks, so that decisions by the clock do not differ."""
        if self.count == 1:
            return value
        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        shared = torch.tensor([value], dtype=torch.float64, device=device)
        distributed.broadcast(shared, 0)
        return float(shared)

    def wait(self) -> None:
        """Wait for all."""
        if self.count > 1:
            distributed.barrier()
