"""What every benchmark measures by: the CPU time of one thread."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """A thread that waits for another burns CPU time too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info["torch"] = torch.__version__
