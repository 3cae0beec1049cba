"""What does the small ConvNeXt reach in about half of the time?

Parent: upernet_convnext-atto_1xb8-copypaste-2400it_recycle-256x256.py;
        only the schedule is shorter.
Run:    python tools/train.py \
            configs/small/upernet_convnext-atto_1xb8-copypaste-1300it_recycle-256x256.py
Result: docs/results.md
"""

_base_ = './upernet_convnext-atto_1xb8-copypaste-2400it_recycle-256x256.py'

max_iters = 1300
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=100, end=max_iters, eta_min=0),
]
train_cfg = dict(max_iters=max_iters, val_interval=650)
