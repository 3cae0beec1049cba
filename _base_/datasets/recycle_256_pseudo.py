"""The photographs at 256 x 256 and, beside them, the pseudo-labelled test images."""

_base_ = './recycle_256.py'

_pseudo_set = dict(
    type='RecycleDataset',
    data_root=_base_.data_root,
    data_prefix=dict(img_path='pseudo/images', seg_map_path='pseudo/mask'),
    pipeline=_base_._train_set.pipeline,
)
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type='ConcatDataset',
            datasets=[_base_._train_set, _pseudo_set],
        )
    )
)
