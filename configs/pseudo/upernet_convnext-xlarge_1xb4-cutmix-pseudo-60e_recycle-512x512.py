"""Train and pseudo labels together: what do the unlabelled photographs add?

Parent: configs/convnext/upernet_convnext-xlarge_1xb4-cutmix-60e_recycle-512x512.py;
        nothing else changes.
Run:    python tools/train.py \
            configs/pseudo/upernet_convnext-xlarge_1xb4-cutmix-pseudo-60e_recycle-512x512.py
"""

_base_ = '../convnext/upernet_convnext-xlarge_1xb4-cutmix-60e_recycle-512x512.py'

# ``utils/pseudo_label.py`` writes this part of the data root.
pseudo_set = dict(
    type='RecycleDataset',
    data_root=_base_.data_root,
    data_prefix=dict(img_path='pseudo/images', seg_map_path='pseudo/mask'),
    pipeline=_base_.train_set.pipeline,
)
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type='ConcatDataset',
            datasets=[_base_.train_set, pseudo_set],
        )
    )
)
