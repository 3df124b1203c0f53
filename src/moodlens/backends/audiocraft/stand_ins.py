"""Stand-ins for three packages that audiocraft imports and MusicGen hardly uses.

audiocraft 1.3.0 pins xformers, torchaudio and spacy. None of them is installed with it here: xformers and
spacy are not needed to run MusicGen, and torchaudio's wheels from the package index do not load beside a CPU
build of torch. What audiocraft uses of them at import and while a MusicGen runs:

| package    | used                           | the stand-in                                                 |
|------------|--------------------------------|--------------------------------------------------------------|
| xformers   | `ops.unbind`                   | `torch.unbind`; the original is a faster version of it       |
| torchaudio | names of `transforms`          | classes that raise when instantiated (metrics,               |
|            |                                | losses and the chroma of melody conditioning use them)       |
| spacy      | the name `spacy`               | an empty module (for `normalize_text`, unused by MusicGen)   |

A stand-in is used only if the real package is absent. It has a ModuleSpec, because libraries probe packages
with `importlib.util.find_spec`, which raises on a module without one. It is removed from `sys.modules` when
the block ends, so no other code imports it; audiocraft keeps the references that it took.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

import torch

from moodlens.base.errors import UsageError, must

PACKAGES = ("xformers", "torchaudio", "spacy")
TORCHAUDIO_TRANSFORMS = ("Spectrogram", "MelSpectrogram", "Loudness", "Resample")
INSTALL = "Run `make audiocraft`"


class StandIn(ModuleType):
    """An importable module that holds the given attributes only."""

    def __init__(self, name: str, **attributes: object) -> None:
        super().__init__(name, f"Stand-in of moodlens for {name}.")
        self.__spec__ = ModuleSpec(name, None, is_package=True)
        self.__path__ = []
        self.__dict__.update(attributes)


def _absent(package: str, name: str) -> type:
    """Return a class that can be imported and subclassed; instantiating it says which package is absent."""

    def refuse(*_: object, **__: object) -> None:
        advice = f"Install {package}, or use a model that does without it"
        raise UsageError(must(package, f"be installed to use its {name}", "a stand-in", next_step=advice))

    return type(
        name, (torch.nn.Module,), {"__init__": refuse, "__doc__": f"Stand-in for {package}'s {name}."}
    )


def _stand_ins_for(package: str) -> dict[str, ModuleType]:
    """Return module name -> stand-in, the package first."""
    if package == "xformers":
        ops = StandIn("xformers.ops", unbind=torch.unbind)
        return {"xformers": StandIn("xformers", ops=ops), "xformers.ops": ops}
    if package == "torchaudio":
        classes = {name: _absent(package, name) for name in TORCHAUDIO_TRANSFORMS}
        transforms = StandIn("torchaudio.transforms", **classes)
        return {
            "torchaudio": StandIn("torchaudio", transforms=transforms),
            "torchaudio.transforms": transforms,
        }
    return {package: StandIn(package)}


@contextmanager
def stand_ins() -> Iterator[tuple[str, ...]]:
    """Yield the names that are in `sys.modules` inside the `with` block: those of absent packages only."""
    placed: dict[str, ModuleType] = {}
    for package in PACKAGES:
        if package not in sys.modules and find_spec(package) is None:
            placed |= _stand_ins_for(package)
    sys.modules.update(placed)
    try:
        yield tuple(placed)
    finally:
        for name, module in placed.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


def import_audiocraft() -> ModuleType:
    """Return the package `audiocraft` with its models imported; the first call takes about 5 s.

    Raises:
        UsageError: audiocraft, or a package that it needs and that has no stand-in, is not installed.
    """
    # transformers looks for torchaudio once and caches the answer: it must look before the stand-in exists
    for name in ("T5EncoderModel", "T5Tokenizer", "RobertaTokenizer", "EncodecModel"):
        getattr(import_module("transformers"), name)
    try:
        with stand_ins(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations since audiocraft's last release
            import_module("audiocraft.models")
            return import_module("audiocraft")
    except ModuleNotFoundError as error:
        raise UsageError(must("audiocraft", "be installed", f"no {error.name}", next_step=INSTALL)) from None
