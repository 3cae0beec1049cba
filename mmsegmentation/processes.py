"""The processes that a launcher starts for one run."""

import os
import socket
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from mmsegmentation.addresses import interface_of, is_loopback, source_of
from mmsegmentation.command import InputError, Parser
from mmsegmentation.runtime import MISUSES

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch.distributed import TCPStore

# What other launchers call the variables of torchrun.
VARIABLES = {
    'slurm': {
        'RANK': 'SLURM_PROCID',
        'LOCAL_RANK': 'SLURM_LOCALID',
        'WORLD_SIZE': 'SLURM_NTASKS',
    },
    'mpi': {
        'RANK': 'OMPI_COMM_WORLD_RANK',
        'LOCAL_RANK': 'OMPI_COMM_WORLD_LOCAL_RANK',
        'WORLD_SIZE': 'OMPI_COMM_WORLD_SIZE',
    },
}
# Ports of Slurm's jobs, told apart by their numbers.
PORTS = range(20000, 30000)
# What is noted where torchrun's processes meet.
BEGUN, SAVED, MEETING, PEER = (
    f'recycle_{name}' for name in ('begun', 'saved', 'meeting', 'peer')
)
# Seconds in which a process that is there answers.
PATIENCE = 5
# Time in seconds that all processes of a launch have to start.
MEETING_SECONDS = 300


def add_launcher_options(parser: Parser) -> None:
    """Add ``--launcher`` and ``--local-rank`` to a command, as in MMSegmentation."""
    add = parser.add_argument
    launchers = ['none', 'pytorch', 'slurm', 'mpi']
    add('--launcher', choices=launchers, default='none', help='see torchrun --help')
    text = 'passed by torch.distributed.launch'
    add('--local-rank', '--local_rank', type=int, metavar='N', help=text)


def take_local_rank(args: Namespace) -> None:
    """Copy ``--local-rank`` to the environment variable that MMEngine reads.

    A variable that is already set is kept.
    """
    if args.local_rank is not None:
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))


@contextmanager
def processes(cfg: 'Config') -> Iterator[None]:
    """Join the processes that ``cfg.launcher`` started, for the time of a run.

    GPUs exchange over what ``env_cfg.dist_cfg`` says, CPUs over gloo. A process that
    loses another says so in one line, so that the other's own error is seen.

    Raises:
        InputError: No launcher started this process.
    """
    if cfg.launcher == 'none':
        yield
        return
    import torch

    try:
        _join(cfg)
        yield
        # Neither after a failure: the others may never come to the end. While this one
        # waits, gloo's threads let go of its last tensors: once the interpreter ends,
        # they cannot, and abort the process.
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
    except RuntimeError as error:
        if not is_loss(error):
            raise
        print(f'{_name()}: stops, because another one did', file=sys.stderr)
        raise SystemExit(1) from None


def is_loss(error: BaseException) -> bool:
    """Tell whether an error comes from another process of the run that is gone."""
    from torch.distributed import DistError

    # gloo's errors are of no kind of their own. Where torchrun ends all that is left, a
    # worker may be the first to go.
    texts = 'gloo/transport', 'killed by signal: Terminated'
    if isinstance(error, DistError) or any(text in str(error) for text in texts):
        return True
    return error.__context__ is not None and is_loss(error.__context__)


def _join(cfg: 'Config') -> None:
    import torch
    from mmengine.dist import init_dist

    try:
        _translate_variables(cfg.launcher)
        meeting = _meeting()
        if torch.cuda.is_available():
            _check_own_gpu(cfg.launcher)
            options = cfg.get('env_cfg', {}).get('dist_cfg', {})
            init_dist(cfg.launcher, **options, **meeting)
        else:
            # MMEngine's launchers are for GPUs alone, and so is its wrapper's default.
            torch.distributed.init_process_group('gloo', **meeting)
            cfg.model_wrapper_cfg = {
                'broadcast_buffers': False,
                'find_unused_parameters': cfg.get('find_unused_parameters', False),
                **(cfg.get('model_wrapper_cfg') or {}),
                'device_ids': None,
            }
    except MISUSES as error:
        way_out = 'start it with torchrun, as tools/launch.sh does'
        raise InputError(f'--launcher {cfg.launcher}', str(error), way_out) from None


def _check_own_gpu(launcher: str) -> None:
    """Refuse more processes on a machine than it has GPUs.

    Raises:
        InputError: There is no GPU for this process.
    """
    import torch

    count, local = torch.cuda.device_count(), int(os.environ['LOCAL_RANK'])
    if launcher != 'slurm' and local >= count:  # under Slurm, MMEngine assigns GPUs
        raise InputError(
            _name(),
            f'is number {local + 1} on a machine with {count} GPUs',
            'start one process for each GPU, or pass --device cpu',
        )


def _meeting() -> dict[str, Any]:
    """Return where to meet, if it is not where the variables say.

    PyTorch 2.12 gives processes that are started again the store of those before, with
    their addresses: some would wait for them for ever. The main process opens another.
    """
    from torch.distributed import DistNetworkError, TCPStore

    try:
        launch = _launch()
    except DistNetworkError:
        place = ':'.join(_launcher_place())
        raise _unreached(f'{place}, which torchrun named to all') from None
    if launch is None:
        return {}
    rank = int(os.environ['RANK'])
    if rank == 0:
        own = _own_address(launch)
        store = TCPStore(own, 0, is_master=True, wait_for_workers=False)
        launch.set(MEETING, f'{own} {store.port}')
    else:
        host, port = _wait_for_meeting(launch)
        store = TCPStore(host, port, is_master=False)
        own = source_of(host, port)
    if _on_several_machines() and (name := interface_of(own)):
        # By default gloo uses the address to which the machine's host name resolves.
        os.environ.setdefault('GLOO_SOCKET_IFNAME', name)
    return {'store': store, 'rank': rank, 'world_size': int(os.environ['WORLD_SIZE'])}


def _launcher_place() -> tuple[str, str]:
    return os.environ['MASTER_ADDR'], os.environ['MASTER_PORT']


def _on_several_machines() -> bool:
    total = os.environ['WORLD_SIZE']
    return os.environ.get('LOCAL_WORLD_SIZE', total) != total


def _own_address(launch: 'TCPStore') -> str:
    """Return the address at which others reach the machine of the main process.

    Raises:
        InputError: It is a loopback address, and no other machine announced its own.
    """
    host, port = _launcher_place()
    own = source_of(host, int(port))
    if not (is_loopback(own) and _on_several_machines()):
        return own
    peer = _read(launch, PEER, 'another machine')
    # The route to another machine starts at the address that others can reach.
    return own if is_loopback(peer) else source_of(peer, 1)


def _wait_for_meeting(launch: 'TCPStore') -> tuple[str, int]:
    """Return address and port of the main process once it answers there.

    The announced address may belong to an earlier main process that is gone.

    Raises:
        InputError: No address was announced in time, or nothing answered there.
    """
    host, port = _launcher_place()
    if os.environ.get('GROUP_RANK') != '0':  # on another machine than the main process
        launch.set(PEER, source_of(host, int(port)))
    until = time.monotonic() + MEETING_SECONDS
    while time.monotonic() < until:
        host, port = _read(launch, MEETING, 'the main process').split()
        with suppress(OSError), socket.create_connection((host, int(port)), PATIENCE):
            return host, int(port)
        time.sleep(0.1)
    raise _unreached(f'{host}:{port}, which the main process announced')


def _read(launch: 'TCPStore', key: str, who: str) -> str:
    from torch.distributed import DistStoreError

    try:
        launch.wait([key], timedelta(seconds=MEETING_SECONDS))
    except DistStoreError:
        what = f'{who} announced no address in {MEETING_SECONDS} s'
        raise InputError(_name(), what, 'see the errors of the others') from None
    return launch.get(key).decode()


def _unreached(place: str) -> InputError:
    return InputError(
        _name(),
        f'nobody answers at {place}',
        "give each machine's own name an address that the others reach, not 127.0.1.1 "
        '(in /etc/hosts), and open its ports to them',
    )


def _name() -> str:
    return f'process {os.environ["RANK"]}'


def _translate_variables(launcher: str) -> None:
    """Name this process as torchrun would, and where all of them meet."""
    for name, theirs in VARIABLES.get(launcher, {}).items():
        if theirs not in os.environ:
            raise ValueError(f'{theirs} is not set')
        os.environ[name] = os.environ[theirs]
    if launcher == 'slurm':
        job = int(os.environ.get('SLURM_JOB_ID', 0))
        os.environ.setdefault('MASTER_PORT', str(PORTS[job % len(PORTS)]))
        if 'MASTER_ADDR' not in os.environ:
            os.environ['MASTER_ADDR'] = _first_host(os.environ['SLURM_NODELIST'])


def _first_host(nodes: str) -> str:
    command = ['scontrol', 'show', 'hostnames', nodes]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ValueError(f'MASTER_ADDR is not set, and {error}') from None
    return done.stdout.split()[0]


def note(what: str) -> None:
    """Note for processes that torchrun starts again, after a failure, how far it came.

    Args:
        what: ``BEGUN``: the first step is made, and an earlier run replaced; or
            ``SAVED``: there is a checkpoint.
    """
    launch = _launch()
    if launch:
        launch.set(what, '')


def is_noted(what: str) -> bool:
    """Tell whether a start of this launch before this one came so far."""
    launch = _launch()
    return bool(launch and launch.check([what]))


def _launch() -> 'TCPStore | None':
    """Return what torchrun itself keeps as long as it runs, if it does."""
    if os.environ.get('TORCHELASTIC_USE_AGENT_STORE') != 'True':
        return None
    from torch.distributed import TCPStore

    host, port = _launcher_place()
    return TCPStore(host, int(port), is_master=False)
