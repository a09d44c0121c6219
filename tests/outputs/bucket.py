"""A file system with what matters of an object store: whole objects or none, no folders, no renaming."""

from __future__ import annotations

import os
import tempfile
from typing import ClassVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

UPLOAD = ".upload-"


class Bucket(LocalFileSystem):
    """``bucket:///folder/name`` is the file /folder/name."""

    protocol = "bucket"

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(str(path).removeprefix("bucket://"))

    def unstrip_protocol(self, name):
        return f"bucket://{self._strip_protocol(name)}"

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        path = self._strip_protocol(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=UPLOAD, dir=os.path.dirname(path))
        with os.fdopen(handle, "wb") as file:
            file.write(value)
        os.replace(temporary, path)

    listed: ClassVar[dict[str, set[str]]] = {}

    def info(self, path, **kwargs):
        """As s3fs: what a listing of its folder did not show is not there."""
        if isinstance(path, str):
            path = self._strip_protocol(path)
            folder, _, name = path.rpartition("/")
            if name not in self.listed.get(folder, {name}) and not os.path.isdir(path):
                raise FileNotFoundError(path)
        return super().info(path, **kwargs)

    def invalidate_cache(self, path=None):
        self.listed.clear()

    def find(self, path, **kwargs):
        found = super().find(path, **kwargs)
        for name in found:
            folder, _, name = name.rpartition("/")
            self.listed.setdefault(folder, set()).add(name)
        kept = [name for name in found if not os.path.basename(name).startswith(UPLOAD)]
        return {name: found[name] for name in kept} if isinstance(found, dict) else kept

    def ls(self, path, detail=False, **kwargs):
        """Folders without objects are not there."""
        found = super().ls(path, detail=True, **kwargs)
        kept = [entry for entry in found if entry["type"] == "file" or self.find(entry["name"])]
        return kept if detail else [entry["name"] for entry in kept]

    def mv(self, *args, **kwargs):
        raise NotImplementedError("objects cannot be renamed")

    mv_file = rename = move = mv


fsspec.register_implementation("bucket", Bucket, clobber=True)


def url_of(path):
    return f"bucket://{path}"
