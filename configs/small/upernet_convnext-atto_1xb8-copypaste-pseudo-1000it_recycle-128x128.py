"""Do pseudo labels of the test photographs help the small ConvNeXt?

Parent: upernet_convnext-atto_1xb8-copypaste-4000it_recycle-128x128.py,
        trained on from its checkpoint; only the data and the schedule change.
Run:    python tools/train.py \
            configs/small/upernet_convnext-atto_1xb8-copypaste-pseudo-1000it_recycle-128x128.py \
            --cfg-options load_from=<the parent's best checkpoint>
Result: docs/results.md
"""

_base_ = './upernet_convnext-atto_1xb8-copypaste-4000it_recycle-128x128.py'

train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type='ConcatDataset',
            datasets=[_base_.train_set, _base_.pseudo_set],
        )
    )
)
optim_wrapper = dict(optimizer=dict(lr=3e-4))
max_iters = 1000
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=30),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=30, end=max_iters, eta_min=0),
]
train_cfg = dict(max_iters=max_iters, val_interval=200)
