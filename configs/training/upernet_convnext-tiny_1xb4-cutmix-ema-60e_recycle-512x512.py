"""EMA: is a moving average of the weights better than the last of them?

Parent: configs/convnext/upernet_convnext-tiny_1xb4-cutmix-60e_recycle-512x512.py;
        nothing else changes.
Run:    python tools/train.py \
            configs/training/upernet_convnext-tiny_1xb4-cutmix-ema-60e_recycle-512x512.py
"""

_base_ = '../convnext/upernet_convnext-tiny_1xb4-cutmix-60e_recycle-512x512.py'

custom_hooks = [
    dict(
        type='EMAHook',
        ema_type='ExponentialMovingAverage',
        momentum=2e-4,
        update_buffers=True,
    ),
    *_base_.custom_hooks,
]
