"""Train and validation part together: the last stage before a submission?

Parent: configs/small/upernet_convnext-atto_1xb8-copypaste-4000it_recycle-128x128.py;
        trained on from its checkpoint, for a number of steps that is fixed beforehand,
        at a tenth of the learning rate. Nothing is left to judge it by.
Run:    python tools/train.py \
            configs/training/upernet_convnext-atto_1xb8-copypaste-trainval-300it_recycle-128x128.py \
            --cfg-options load_from=<the parent's best checkpoint>
"""

_base_ = '../small/upernet_convnext-atto_1xb8-copypaste-4000it_recycle-128x128.py'

_valid_set = dict(
    _base_.train_set,
    data_prefix=dict(img_path='valid/images', seg_map_path='valid/mask'),
)
# Said openly: tools/train.py looks for no best checkpoint, and no later command takes
# these images for a judge of this model.
trains_on_validation = True
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type='ConcatDataset',
            datasets=[_base_.train_set, _valid_set],
        )
    )
)
val_dataloader = None
val_evaluator = None
val_cfg = None
optim_wrapper = dict(optimizer=dict(lr=1e-4))
max_iters = 300
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=30),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=30, end=max_iters, eta_min=0),
]
train_cfg = dict(max_iters=max_iters)
default_hooks = dict(checkpoint=dict(save_best=None, interval=max_iters))
