"""A data root looked at: measured, joined over its parts, and checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmsegmentation.command import InputError
from utils.class_table import names_of_root, read_table
from utils.data_page.images import ImageFacts, find_tasks, list_problem, measure_all
from utils.data_page.overlaps import (
    SourceFacts,
    compare_orders,
    describe_sources,
    join_sources,
    open_sources,
)
from utils.data_page.similarity import Group, find_groups
from utils.data_page.statistics import (
    DRAWN,
    PartStatistics,
    describe_classes,
    describe_part,
    find_gaps,
    join,
    use_annotations,
)
from utils.duplicates import MAX_DISTANCE, MIN_CORRELATION
from utils.parallel import Workers

PARTS = ('train', 'valid', 'test', 'pseudo')
ALL = 'all'


@dataclass
class Study:
    """All that is known of a data root.

    Attributes:
        root: The data root.
        classes: Class names, in the order of their ids.
        dataset: Its ``dataset.json``; empty if there is none.
        images: What was measured, part by part, by name.
        parts: Sums by part, those that are there.
        labelled: Sums over the parts that people labelled.
        groups: Near-duplicates.
        sources: What the source JSON says, None if it was not given.
        problems: What ``dataset.json`` tells, and what was found here.
        gaps: What the split of the classes over the parts makes impossible.
    """

    root: Path
    classes: list[str]
    dataset: Mapping[str, Any]
    images: list[ImageFacts] = field(default_factory=list)
    parts: dict[str, PartStatistics] = field(default_factory=dict)
    labelled: PartStatistics = field(init=False)
    groups: list[Group] = field(default_factory=list)
    sources: SourceFacts | None = None
    problems: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)

    @property
    def class_ids(self) -> list[int]:
        """Ids of all classes but the background; a numbered table has none."""
        return list(range(self.classes[0] == 'Background', len(self.classes)))

    def describe(self) -> dict[str, Any]:
        """Return the content of ``eda.json``."""
        parts = {
            name: describe_part(part, self.classes) for name, part in self.parts.items()
        }
        overlaps, vertices = None, None
        if self.sources is not None:
            overlaps, vertices = describe_sources(self.sources, self.classes)
        return {
            'classes': self.classes,
            'parts': parts,
            'all_labelled': describe_classes(self.labelled, self.classes),
            'duplicates': {
                'max_hash_distance': MAX_DISTANCE,
                'min_correlation': MIN_CORRELATION,
                'groups': [self.describe_group(group) for group in self.groups],
            },
            'overlaps': overlaps,
            'vertices': vertices,
            'gaps': self.gaps,
            'problems': self.problems,
        }

    def describe_group(self, group: Group) -> dict[str, Any]:
        """Return what ``eda.json`` says of images of the same content."""
        images = [self.images[i] for i in group.members]
        return {
            'exact': group.exact,
            'leak': group.leak,
            'correlation': round(group.correlation, 4),
            'images': [{'part': i.part, 'id': i.image_id} for i in images],
        }


def open_root(root: Path) -> tuple[list[str], Mapping[str, Any]]:
    """Return the parts of a data root and the content of its ``dataset.json``.

    The content is empty if there is no such file.

    Raises:
        InputError: It has no part, or its ``dataset.json`` is damaged.
    """
    parts = [name for name in PARTS if (root / name / 'images').is_dir()]
    if not parts:
        raise InputError(
            root, 'is no data root (no train/images)', 'run utils/prepare_data.py first'
        )
    table = read_table(root)
    return parts, table.content if table else {}


def study(
    root: Path,
    out: Path,
    *,
    raw: Path | None,
    classes: Path | None,
    workers: Workers,
    longest: int,
) -> Study:
    """Look at a data root, and write thumbnails into ``out``.

    Args:
        raw: Folder of the JSON files that it was made of, for overlaps and vertices.
        classes: File of class names for a data root without a class table.
        workers: Who does the work.
        longest: Longest side of a thumbnail, in pixels.

    Raises:
        InputError: It is no data root, holds no readable image, or ``raw`` is not its
            source.
    """
    parts, dataset = open_root(root)
    names = names_of_root(root, classes, workers)
    sources = open_sources(raw, dataset, names) if raw else []
    tasks, problems = find_tasks(root, parts, out, len(names), longest)
    if not tasks:
        raise InputError(root, 'holds no image', 'check the path')
    found = Study(root, names, dataset)
    found.parts = {name: PartStatistics(name, len(names)) for name in parts}
    found.problems = [*_told(dataset), *problems]
    for facts in measure_all(tasks, workers):
        _take(found, facts)
    if not found.images:
        # The last problem is that of the last image, and says what to do.
        raise InputError(root, 'holds no readable image', found.problems[-1])
    for part in found.parts.values():
        found.problems += use_annotations(part, dataset, names)
    found.labelled = join(ALL, _drawn(found.parts), len(names))
    found.groups = find_groups(found.images)
    found.gaps = find_gaps(found.parts, names)
    if sources:
        order = dataset.get('order', 'area')
        by_part = {
            part.name: compare_orders(part, root, order, len(names), workers)
            for part in sources
        }
        found.sources = join_sources(by_part)
        what = f'masks that are not what order {order!r} paints'
        found.problems += list_problem('masks', what, found.sources.differing)
    return found


def _told(dataset: Mapping[str, Any]) -> Sequence[str]:
    problems = dataset.get('problems', [])
    return list(map(str, problems)) if isinstance(problems, list) else []


def _take(found: Study, facts: ImageFacts | str) -> None:
    if isinstance(facts, str):
        found.problems.append(facts)
        return
    found.parts[facts.part].add(facts)
    found.problems += facts.problems
    if facts.labels is not None:
        # Summed already, and by far the largest thing kept of an image.
        facts.labels.places = facts.labels.places[:0]
    found.images.append(facts)


def _drawn(parts: Mapping[str, PartStatistics]) -> list[PartStatistics]:
    return [part for name, part in parts.items() if name in DRAWN and part.labelled]
