"""Class weights by rarity: is the mean over classes worth the background?

Parent: configs/small/upernet_convnext-atto_1xb8-copypaste-4000it_recycle-128x128.py;
        the root of the inverse share of pixels in the training masks.
Run:    python tools/train.py \
            configs/training/upernet_convnext-atto_1xb8-copypaste-classweight-4000it_recycle-128x128.py
"""

_base_ = '../small/upernet_convnext-atto_1xb8-copypaste-4000it_recycle-128x128.py'

custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ClassWeightHook', power=0.5, limit=10.0),
]
