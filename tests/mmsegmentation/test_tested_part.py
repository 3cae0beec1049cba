"""The part of the data that is tested, and what reads it."""

import pytest
from mmengine.config import ConfigDict

from mmsegmentation.tested_part import choose_part


@pytest.mark.parametrize('tta', [False, True], ids=['plain', 'tta'])
@pytest.mark.parametrize('scope', ['', 'mmseg.'])
def test_part__without_masks_asks_for_no_labels(tmp_path, scope, tta):
    (tmp_path / 'test' / 'images').mkdir(parents=True)
    load, labels, pack = (
        {'type': scope + name}
        for name in ('LoadImageFromFile', 'LoadAnnotations', 'PackSegInputs')
    )
    views = {'type': scope + 'TestTimeAug', 'transforms': [[labels], [pack]]}
    cfg = ConfigDict(
        test_dataloader={
            'dataset': {
                'type': scope + 'RecycleDataset',
                'data_root': str(tmp_path),
                'pipeline': [load, labels, pack],
            }
        },
        tta_pipeline=[load, views],
    )
    part = choose_part(cfg, 'test', tta=tta)
    assert not part.labelled
    found = cfg.test_dataloader.dataset.pipeline
    assert found == [load, {**views, 'transforms': [[pack]]} if tta else pack]
