"""The configs that the README has one type: they are read, and name the classes."""

import re
from pathlib import Path

from mmsegmentation.runtime import read_config

ROOT = Path(__file__).resolve().parents[1]
CLASSES = ('Background', 'can', 'jar')


def test_own_classes__configs_work_as_typed(tmp_path):
    for name in ('configs', '_base_'):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / 'my').mkdir()
    text = (ROOT / 'README.md').read_text('utf-8')
    first, second = re.findall(r'^ +```python\n(.*?)^ +```', text, re.S | re.M)
    cfgs = []
    for name, block in (('cans.py', first), ('pseudo.py', second)):
        path = tmp_path / 'my' / name
        path.write_text(re.sub('^   ', '', block, flags=re.M))
        cfgs.append(read_config(str(path)))
    for cfg in cfgs:
        assert cfg.model.decode_head.num_classes == len(CLASSES)
        assert cfg.val_dataloader.dataset.metainfo.classes == CLASSES
        assert cfg.test_dataloader.dataset.metainfo.classes == CLASSES
    plain, joined = (cfg.train_dataloader.dataset.dataset for cfg in cfgs)
    assert plain.metainfo.classes == CLASSES
    assert [part.metainfo.classes for part in joined.datasets] == [CLASSES] * 2
    folders = [part.data_prefix.img_path for part in joined.datasets]
    assert folders == ['train/images', 'pseudo/images']
