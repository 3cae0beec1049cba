"""Two real images for each pseudo-labelled one, for the folds of the small ConvNeXt.

Parent: upernet_convnext-atto_1xb8-copypaste-4000it_recycle-128x128.py,
        trained on from the checkpoint of its shorter run; only the data and the
        schedule change.
Run:    python tools/self_train.py \
            configs/small/upernet_convnext-atto_1xb8-copypaste-1000it_recycle-128x128.py \
            --pseudo-config \
            configs/small/upernet_convnext-atto_1xb8-copypaste-pseudo-mixed-600it_recycle-128x128.py \
            --folds 3 --work-dir work_dirs/self_train
"""

_base_ = './upernet_convnext-atto_1xb8-copypaste-4000it_recycle-128x128.py'

train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type='MixedDataset',
            datasets=[_base_.train_set, _base_.pseudo_set],
            ratio=[2, 1],
        )
    )
)
optim_wrapper = dict(optimizer=dict(lr=3e-4))
max_iters = 600
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=30),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=30, end=max_iters, eta_min=0),
]
train_cfg = dict(max_iters=max_iters, val_interval=200)
