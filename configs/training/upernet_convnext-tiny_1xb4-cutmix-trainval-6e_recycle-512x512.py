"""Train and validation part together: the last stage before a submission?

Parent: configs/convnext/upernet_convnext-tiny_1xb4-cutmix-60e_recycle-512x512.py;
        trained on from its checkpoint, for a number of epochs that is fixed beforehand,
        at a tenth of the learning rate. Nothing is left to judge it by.
Run:    python tools/train.py \
            configs/training/upernet_convnext-tiny_1xb4-cutmix-trainval-6e_recycle-512x512.py \
            --cfg-options load_from=<the parent's best checkpoint>
"""

_base_ = '../convnext/upernet_convnext-tiny_1xb4-cutmix-60e_recycle-512x512.py'

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
optim_wrapper = dict(optimizer=dict(lr=8e-6))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=300),
    dict(
        type='PolyLR',
        power=1.0,
        eta_min=0.0,
        by_epoch=True,
        begin=0,
        end=6,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=6)
default_hooks = dict(checkpoint=dict(save_best=None))
