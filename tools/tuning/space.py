"""What a study searches: a YAML file, checked against the config it is to change."""

import json
import math
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mmsegmentation.command import InputError
from mmsegmentation.config import HELPER_KEYS, check_option
from mmsegmentation.runtime import MISUSES

if TYPE_CHECKING:
    from mmengine.config import Config
    from optuna import Trial

WORDS = 'key', 'low', 'high', 'log', 'step', 'choices', 'new'
# Whole numbers above it are no longer told apart where the study keeps them.
LARGEST = 2**53
SCALARS = bool, int, float, str, type(None)


@dataclass(frozen=True)
class Searched:
    """A value that is searched, and where in the config it goes.

    Attributes:
        name: What the study calls it.
        keys: The keys of the config that get it.
        own: What the config has at all of these keys; None where they differ.
        choices: All values that it may have, or none for a range.
        low: The lowest value of a range; integers are drawn where it is one.
        high: The highest.
        log: Whether it is drawn evenly by its logarithm.
        step: Distance of the values that are drawn, None for all.
    """

    name: str
    keys: tuple[str, ...]
    own: Any
    choices: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None

    def draw(self, trial: 'Trial') -> Any:
        """Return what Optuna draws for a trial; the same again where it has drawn."""
        if self.choices:
            labels = [label(choice) for choice in self.choices]
            return trial.suggest_categorical(self.name, labels)
        low, high, step = self.low, self.high, self.step
        if isinstance(low, int):
            whole = int(step or 1)
            return trial.suggest_int(
                self.name, low, int(high), step=whole, log=self.log
            )
        return trial.suggest_float(self.name, low, high, step=step, log=self.log)

    def value(self, drawn: Any) -> Any:
        """Return what the config gets for what Optuna drew."""
        if not self.choices:
            return drawn
        return next(choice for choice in self.choices if label(choice) == drawn)

    def drawn_own(self) -> Any:
        """Return what Optuna would draw for the config's own value; None if nothing."""
        if self.choices:
            same = [c for c in self.choices if c == self.own and self.own is not None]
            return label(same[0]) if same else None
        if not _is_number(self.own) or not self.low <= self.own <= self.high:
            return None
        if self.step or isinstance(self.low, int):
            steps = (self.own - self.low) / (self.step or 1)
            if not math.isclose(steps, round(steps), abs_tol=1e-9):
                return None
        return type(self.low)(self.own)

    def record(self) -> dict[str, Any]:
        """Return it as plain data; two searches are the same if this is."""
        found: dict[str, Any] = {'keys': list(self.keys)}
        if self.choices:
            return {**found, 'choices': [label(choice) for choice in self.choices]}
        found |= {'low': self.low, 'high': self.high, 'log': self.log}
        return {**found, 'step': self.step}


def label(choice: Any) -> Any:
    """Return a choice as Optuna keeps it: lists and mappings as their JSON text.

    >>> label(0.5), label((64, 32))
    (0.5, '[64, 32]')
    """
    return choice if isinstance(choice, SCALARS) else json.dumps(choice)


def read_space(path: str, cfg: 'Config') -> list[Searched]:
    """Return what a YAML file says is to be searched; nothing in it is run.

    Each entry is a name with ``key`` (a dotted key of the config as of
    ``--cfg-options``, or a list of keys that get the same value) and either ``choices``
    or ``low`` and ``high``, with ``log: true`` or ``step`` if wanted. A key that the
    config does not have is meant only with ``new: true``.

    Raises:
        InputError: The file is missing or no such YAML, an entry cannot be searched, or
            a key is not of the config; the message says which it may have been.
    """
    content = _read(path)
    if not isinstance(content, dict) or not content:
        raise InputError(path, 'names nothing to search', 'see configs/tuning')
    values = cfg.to_dict()
    found = [_entry(path, name, entry, values) for name, entry in content.items()]
    keys = [(key, searched.name) for searched in found for key in searched.keys]
    for number, (key, name) in enumerate(keys):
        for other, second in keys[:number]:
            if f'{key}.'.startswith(f'{other}.') or f'{other}.'.startswith(f'{key}.'):
                what = f'{key} is of {second} and of {name}'
                raise InputError(path, what, 'search it once')
    return found


class _Loader(yaml.SafeLoader):
    """Data alone; ``1e-4`` is a number, and no name may come twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        names = [key.value for key, _ in node.value if key.id == 'scalar']
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise yaml.YAMLError(f'{", ".join(sorted(twice))} comes twice')
        return super().construct_mapping(node, deep)


# YAML 1.1, which PyYAML reads, wants 1.0e-4.
_Loader.add_implicit_resolver(
    'tag:yaml.org,2002:float',
    re.compile(r'^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$'),
    list('-+.0123456789'),
)


def _read(path: str) -> Any:
    try:
        return yaml.load(Path(path).read_text('utf-8'), _Loader)
    except FileNotFoundError:
        raise InputError(path, 'no such file', 'see configs/tuning') from None
    except (OSError, RecursionError, yaml.YAMLError, *MISUSES) as error:
        raise InputError(path, f'not readable as YAML ({error})', 'repair it') from None


def _entry(path: str, name: Any, entry: Any, cfg: Mapping) -> Searched:
    def wrong(what: str, way_out: str) -> InputError:
        return InputError(f'{path}: {name}', what, way_out)

    if not isinstance(name, str) or not isinstance(entry, dict):
        raise wrong('is no name with a key and its values', 'see configs/tuning')
    for word in entry:
        if word not in WORDS:
            near = get_close_matches(str(word), WORDS, n=1)
            raise wrong(f'unknown word {word!r}', f'write {(near or WORDS)[0]}')
    keys = entry.get('key')
    keys = [keys] if isinstance(keys, str) else keys
    if not isinstance(keys, list) or not keys or not all(map(_is_text, keys)):
        raise wrong('has no key', 'write key: optim_wrapper.optimizer.lr, say')
    values = [_look_up(cfg, key, bool(entry.get('new')), wrong) for key in keys]
    same = all(value == values[0] for value in values)
    own = values[0] if same else None
    if 'choices' in entry:
        return _choice(name, keys, own, values, entry, wrong)
    return _range(name, keys, own, values, entry, wrong)


def _choice(
    name: str, keys: list[str], own: Any, values: list, entry: dict, wrong: Any
) -> Searched:
    choices = entry['choices']
    if {'low', 'high', 'log', 'step'} & entry.keys():
        raise wrong('has choices and a range', 'give one of the two')
    if not isinstance(choices, list) or len(choices) < 2:
        raise wrong('has no two choices', 'write choices: [1, 2], say')
    kept = [
        tuple(c) if isinstance(c, list) and isinstance(own, tuple) else c
        for c in choices
    ]
    for number, choice in enumerate(kept):
        try:
            json.dumps(choice, allow_nan=False)
        except (TypeError, ValueError):
            raise wrong(f'cannot choose {choice!r}', 'give plain values') from None
        if any(choice == other for other in kept[:number]):
            raise wrong(f'has the choice {choice!r} twice', 'remove one')
        for key, value in zip(keys, values, strict=True):
            if not _is_alike(value, choice):
                text = f'{choice!r} cannot stand for {value!r} of {key}'
                raise wrong(text, 'give values of its kind')
    return Searched(name, tuple(keys), own, tuple(kept))


def _range(
    name: str, keys: list[str], own: Any, values: list, entry: dict, wrong: Any
) -> Searched:
    low: Any
    high: Any
    step: Any
    low, high, step = (entry.get(word) for word in ('low', 'high', 'step'))
    log = entry.get('log', False)
    if not (_is_number(low) and _is_number(high)):
        raise wrong('has no range', 'give numbers for low and high, or choices')
    if not low < high:
        raise wrong(f'low {low} is not below high {high}', 'correct them')
    if not isinstance(log, bool):
        raise wrong(f'log is {log!r}', 'write true or false')
    if log and (low <= 0 or step is not None):
        raise wrong(
            'log needs a low above 0, and no step', 'correct it, or leave log out'
        )
    if step is not None and not (_is_number(step) and 0 < step <= high - low):
        raise wrong(f'step is {step!r}', f'give a number in (0, {high - low}]')
    whole = all(isinstance(v, int) for v in (low, high, step) if v is not None)
    for key, value in zip(keys, values, strict=True):
        if value is not None and not _is_number(value):
            text = f'a range cannot stand for {value!r} of {key}'
            raise wrong(text, 'give choices')
        if whole and isinstance(value, float):
            text = f'{low} to {high} are integers, and {key} is {value}'
            raise wrong(text, f'write low: {float(low)}')
    if not whole:
        low, high, step = (None if v is None else float(v) for v in (low, high, step))
    return Searched(name, tuple(keys), own, (), low, high, log, step)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    kind = isinstance(value, int | float) and not isinstance(value, bool)
    return kind and abs(value) <= LARGEST


def _is_alike(own: Any, choice: Any) -> bool:
    """Tell whether a config that has one value may have another in its place."""
    if isinstance(choice, dict):
        return isinstance(own, dict)
    if own is None or choice is None:
        return True
    if _is_number(own) or isinstance(own, list | tuple):
        kinds = (list, tuple) if isinstance(own, list | tuple) else (int, float)
        return isinstance(choice, kinds) and not isinstance(choice, bool)
    return isinstance(choice, type(own))


def _look_up(cfg: Mapping, key: str, new: bool, wrong: Any) -> Any:
    try:
        check_option(key)
    except InputError as error:
        what = str(error).partition(': ')[2]
        raise wrong(f'{key} {what}', 'see the config') from None
    value: Any = cfg
    parts = key.split('.')
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if isinstance(value, list) and part.isdecimal() and last:
            # MMEngine sets no item of a list, only what is in it.
            raise wrong(f'{key} is an item of a list', 'give choices of the list')
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, tuple):
            raise wrong(f'{key} is in a tuple', 'give choices of the whole tuple')
        elif new and isinstance(value, Mapping) and last:
            return None
        else:
            near = _nearest(cfg, key)
            hint = f'write {near}' if near else 'see the config'
            raise wrong(
                f'the config has no {key}', f'{hint}, or new: true if it is meant'
            )
    return value


def _nearest(cfg: Mapping, key: str) -> str | None:
    known = [name for name in _all_keys(cfg) if name.split('.')[0] not in HELPER_KEYS]
    last = key.rpartition('.')[2]
    same = [name for name in known if name.rpartition('.')[2] == last]
    near: Sequence[str] = get_close_matches(key, known, n=1)
    near = near or get_close_matches(key, same, n=1, cutoff=0) or same
    return near[0] if near else None


def _all_keys(value: Any, place: str = '') -> Iterator[str]:
    pairs: Any = ()
    if isinstance(value, Mapping):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value)
    for name, part in pairs:
        key = f'{place}.{name}' if place else str(name)
        yield key
        yield from _all_keys(part, key)
