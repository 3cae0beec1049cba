"""Train and pseudo labels together: what do the unlabelled photographs add?

Parent: configs/beit/upernet_beit-base_1xb4-cutmix-60e_recycle-640x640.py;
        nothing else changes.
Run:    python tools/train.py \
            configs/pseudo/upernet_beit-base_1xb4-cutmix-pseudo-60e_recycle-640x640.py
"""

_base_ = '../beit/upernet_beit-base_1xb4-cutmix-60e_recycle-640x640.py'

train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type='ConcatDataset',
            datasets=[_base_.train_set, _base_.pseudo_set],
        )
    )
)
