"""The last stage of the small ConvNeXt, on real labels alone.

Parent: upernet_convnext-atto_1xb8-copypaste-4000it_recycle-128x128.py,
        trained on from a checkpoint that has learnt from pseudo labels, at a tenth of
        the learning rate.
Run:    python tools/train.py \
            configs/small/upernet_convnext-atto_1xb8-copypaste-real-300it_recycle-128x128.py \
            --cfg-options load_from=<that checkpoint>
"""

_base_ = './upernet_convnext-atto_1xb8-copypaste-4000it_recycle-128x128.py'

optim_wrapper = dict(optimizer=dict(lr=1e-4))
max_iters = 300
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=30),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=30, end=max_iters, eta_min=0),
]
train_cfg = dict(max_iters=max_iters, val_interval=100)
