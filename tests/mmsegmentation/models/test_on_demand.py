"""Pixel data on demand are computed when read, and otherwise behave as pixel data."""

import copy
import pickle

import pytest
import torch
from mmengine.evaluator.metric import _to_cpu
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmsegmentation.models.on_demand import Labels, OnDemand, label_ids, source_of


class Source:
    shape = (2, 3, 4)

    def __init__(self):
        self.calls = 0

    def full(self):
        self.calls += 1
        return torch.arange(24.0).reshape(self.shape)


@pytest.fixture
def source():
    return Source()


def test_data__are_computed_once_at_the_first_access(source):
    data = OnDemand(source)
    assert (data.shape, list(data.keys()), 'data' in data) == ((3, 4), ['data'], True)
    assert source.calls == 0
    assert torch.equal(data.data, Source().full())
    assert torch.equal(data.get('data'), Source().full())
    assert source.calls == 1
    with pytest.raises(AttributeError, match="no 'datum'"):
        _ = data.datum


def test_data__a_sample_and_its_dictionary_do_not_compute(source):
    sample = SegDataSample(seg_logits=OnDemand(source))
    fields = sample.clone().to_dict()['seg_logits']
    assert isinstance(fields, dict)
    assert (list(fields), 'data' in fields, len(fields)) == (['data'], True, 1)
    assert source_of(sample.seg_logits) is source_of(fields) is source
    assert source.calls == 0
    assert torch.equal(fields['data'], Source().full())
    assert torch.equal(fields.get('data'), sample.seg_logits.data)
    assert fields.pop('none', 1) == 1
    assert source.calls == 1
    assert source_of(fields) is None


@pytest.mark.parametrize(
    'taken',
    [
        lambda sample: sample.cpu().to_dict(),
        lambda sample: sample.to('cpu').to_dict(),
        lambda sample: sample.detach().to_dict(),
        lambda sample: copy.deepcopy(sample).to_dict(),
        lambda sample: pickle.loads(pickle.dumps(sample)).to_dict(),
        lambda sample: pickle.loads(pickle.dumps(sample.to_dict())),
        lambda sample: _to_cpu([sample.to_dict()])[0],  # of DumpResults
        lambda sample: {key: dict(value) for key, value in sample.to_dict().items()},
        lambda sample: {key: {**value} for key, value in sample.to_dict().items()},
    ],
)
def test_data__every_way_out_has_them(source, taken):
    found = taken(SegDataSample(seg_logits=OnDemand(source)))
    assert torch.equal(found['seg_logits']['data'], Source().full())


def test_data__numpy_and_a_part_are_ordinary(source):
    data = OnDemand(source)
    assert data.numpy().data.tolist() == Source().full().tolist()
    assert data[1:2, 2:4].data.tolist() == [[[6, 7]], [[18, 19]]]


def test_data__others_may_take_their_place(source):
    data = OnDemand(source)
    fields = data.to_dict()
    data.data = torch.zeros(1, 3, 4)
    assert data.to_dict()['data'].shape == (1, 3, 4)
    assert fields['data'].shape == (1, 3, 4)
    assert source_of(data) is source_of(fields) is None
    assert source.calls == 0


def test_data__can_be_taken_out(source):
    data = OnDemand(source)
    assert torch.equal(data.pop('data'), Source().full())
    assert 'data' not in data
    data = OnDemand(source)
    del data.data
    assert (list(data.keys()), data.shape, data.to_dict()) == ([], None, {})


def test_labels__are_int64_and_keep_their_bytes():
    ids = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    data = OnDemand(Labels(ids))
    assert label_ids(data) is ids
    assert label_ids(data.to_dict()) is ids
    assert (data.data - 1).tolist() == [[[-1, 254]]]


def test_labels__that_somebody_changed_are_those_that_count():
    ids = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    data = OnDemand(Labels(ids))
    fields = data.to_dict()
    data.data[:] = 7  # a user's own step after the prediction
    assert label_ids(data).tolist() == [[[7, 7]]]
    assert label_ids(fields).tolist() == [[[7, 7]]]
    data.data = torch.tensor([[[3, 300]]])
    assert label_ids(data).tolist() == [[[3, 300]]]


def test_labels__of_others_are_taken_as_they_are():
    stock = PixelData(data=torch.tensor([[[3]]]))
    assert label_ids(stock) is stock.data
    assert label_ids(stock.to_dict()) is stock.data
