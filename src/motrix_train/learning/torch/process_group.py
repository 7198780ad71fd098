"""Torch's collectives between the workers of a training."""

import atexit
import importlib

import numpy as np
import torch
from torch import distributed

from motrix_train.distributed import TIMEOUT
from motrix_train.launcher import ProcessInfo


def connect(place: ProcessInfo) -> "Collectives":
    """Joins the process group: with Gloo, and NCCL for tensors on GPUs.

    Raises:
        RuntimeError, ValueError: The other processes cannot be reached.
    """
    # Optimizers import it. Once a process group exists, default arguments of its functions would keep the group, with
    # Gloo's threads, beyond `destroy_process_group`; one that drops a tensor while Python ends would abort the process.
    importlib.import_module("torch._dynamo")
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and distributed.is_nccl_available() else "gloo",
        init_method=f"tcp://{place.address}",
        rank=place.rank,
        world_size=place.size,
        timeout=TIMEOUT,
    )
    atexit.register(distributed.destroy_process_group)
    return Collectives()


class Collectives:
    """Collectives on the CPU; a `motrix_train.distributed.Transport`."""

    def all_gather(self, data: np.ndarray) -> np.ndarray:  # (n,) uint8 -> (workers, n)
        gathered = torch.empty(distributed.get_world_size(), data.size, dtype=torch.uint8)
        distributed.all_gather(list(gathered), torch.tensor(data))
        return gathered.numpy()

    def broadcast(self, data: np.ndarray, source: int) -> np.ndarray:  # (n,) uint8 -> (n,)
        tensor = torch.tensor(data)
        distributed.broadcast(tensor, source)
        return tensor.numpy()
