"""The small BEiT in a quarter of the iterations: the second member of voting folds.

Parent: upernet_beit-mini_1xb8-copypaste-2400it_recycle-128x128.py, shortened.
Run:    python tools/train.py \
            configs/small/upernet_beit-mini_1xb8-copypaste-600it_recycle-128x128.py \
            --fold 0
Result: docs/results.md
"""

_base_ = './upernet_beit-mini_1xb8-copypaste-2400it_recycle-128x128.py'

max_iters = 600
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=100, end=max_iters, eta_min=0),
]
train_cfg = dict(max_iters=max_iters, val_interval=300)
