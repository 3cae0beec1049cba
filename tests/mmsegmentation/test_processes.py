"""Where the processes of several machines meet, and what ends their waiting."""

import socket
import sys

import pytest
import torch
from torch.distributed import TCPStore

from mmsegmentation import processes
from mmsegmentation.addresses import interface_of, source_of
from mmsegmentation.command import InputError
from tests.forked import free_port


@pytest.fixture
def launch(monkeypatch):
    """Return the store of a launch on two machines, of which this is process 1."""
    store = TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False)
    for name, value in {
        'MASTER_ADDR': '127.0.0.1',
        'MASTER_PORT': str(store.port),
        'RANK': '1',
        'LOCAL_RANK': '0',
        'WORLD_SIZE': '2',
        'LOCAL_WORLD_SIZE': '1',
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(processes, 'MEETING_SECONDS', 0.3)
    return store


def test_meeting__where_nobody_answers_ends_with_the_address(launch):
    port = free_port()
    launch.set(processes.MEETING, f'127.0.0.1 {port}')
    message = rf'process 1: nobody answers at 127\.0\.0\.1:{port}, which the main'
    with pytest.raises(InputError, match=message):
        processes._wait_for_meeting(launch)


def test_meeting__that_is_never_announced_ends(launch):
    message = r'process 1: the main process announced no address in 0\.3 s'
    with pytest.raises(InputError, match=message):
        processes._wait_for_meeting(launch)


def test_meeting__where_one_answers_is_taken(launch):
    with socket.socket() as main:
        main.bind(('127.0.0.1', 0))
        main.listen()
        port = main.getsockname()[1]
        launch.set(processes.MEETING, f'127.0.0.1 {port}')
        assert processes._wait_for_meeting(launch) == ('127.0.0.1', port)


def test_own_address__of_a_name_that_means_itself_is_that_of_the_way_to_another(
    launch, monkeypatch
):
    ways = {'first': '127.0.1.1', '10.0.0.2': '10.0.0.1'}
    monkeypatch.setattr(processes, 'source_of', lambda host, port: ways[host])
    monkeypatch.setenv('MASTER_ADDR', 'first')
    launch.set(processes.PEER, '10.0.0.2')
    assert processes._own_address(launch) == '10.0.0.1'


def test_own_address__on_one_machine_may_mean_itself(launch, monkeypatch):
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '2')
    assert processes._own_address(launch) == '127.0.0.1'


def test_gpus__that_are_fewer_than_processes_are_an_error(launch, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    processes._check_own_gpu('pytorch')
    monkeypatch.setenv('LOCAL_RANK', '2')
    with pytest.raises(InputError, match='process 1: is number 3 on a machine with 2'):
        processes._check_own_gpu('pytorch')
    processes._check_own_gpu('slurm')


def test_source__of_packets_to_itself_is_the_address_itself():
    assert source_of('127.0.0.1', 9) == '127.0.0.1'


@pytest.mark.skipif(sys.platform != 'linux', reason='interfaces are named otherwise')
def test_interface__is_found_by_its_address():
    assert interface_of('127.0.0.1') == 'lo'
    assert interface_of('192.0.2.1') is None
