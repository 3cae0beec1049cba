"""Cyclic schedule: do three restarts find a better place than one descent?

Parent: configs/convnext/upernet_convnext-tiny_1xb4-cutmix-60e_recycle-512x512.py;
        nothing else changes.
Run:    python tools/train.py \
            configs/augmentation/upernet_convnext-tiny_1xb4-cutmix-cyclic-60e_recycle-512x512.py
"""

_base_ = '../convnext/upernet_convnext-tiny_1xb4-cutmix-60e_recycle-512x512.py'

# A restart sets the rate outright, the first one too: the warm-up stands behind it, and
# multiplies.
param_scheduler = [
    dict(
        type='CosineRestartLR',
        periods=[20, 20, 20],
        restart_weights=[1.0, 0.5, 0.25],
        eta_min=0.0,
        by_epoch=True,
        begin=0,
        end=60,
        convert_to_iter_based=True,
    ),
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
]
