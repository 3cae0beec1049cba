import random

import numpy as np
from mmseg.datasets.transforms import Albu
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class SeededAlbu(Albu):
    """Albumentations that follow the run's seed, and differ between workers.

    Albumentations draws from generators of its own. They are made before the workers
    fork, so with ``Albu`` all workers draw the same, whatever the seed. Here they are
    made anew for each sample, from NumPy's global generator, which MMEngine seeds in
    each worker.

    Args: as MMSegmentation's ``Albu``.
    """

    def transform(self, results: dict) -> dict:
        seed = int(np.random.randint(1 << 31))
        # One pair for all steps: with set_random_seed each would throw the same dice.
        self.aug.set_random_state(np.random.default_rng(seed), random.Random(seed))
        return super().transform(results)
