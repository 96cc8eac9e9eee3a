# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kestra's internal storage on a local directory."""
from __future__ import annotations

import json
import os
import re
import shutil


class StorageError(Exception):
    """A path that leaves the storage, or a file that is not there."""


def slug(text):
    """The form of a flow or task id in a path."""
    return re.sub(r"[^a-z0-9._-]", "-", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", text).lower())


def ion_text(text):
    """A string as ION (its JSON form is one)."""
    out = ['"']
    for char in text:
        if char in '"\\':
            out.append("\\" + char)
        elif char == "\n":
            out.append("\\n")
        elif ord(char) < 32:
            out.append("\\x%02x" % ord(char))
        else:
            out.append(char)
    return "".join(out) + '"'


def ion_map(mapping):
    """A map of strings as one ION line."""
    return "{%s}" % ",".join("%s:%s" % (key, ion_text(str(value))) for key, value in mapping.items())


def of_ion_map(text):
    """The map of such a line."""
    return {name: json.loads(re.sub(r"\\(.)", lambda found: "\\u00" if found[1] == "x" else found[0], value))
            for name, value in re.findall(r'([^{,:]+):("(?:[^"\\]|\\.)*")', text)}


class LocalStorage:
    """Files below a base directory; with a tenant they lie in a directory of its name.

    Files are written in place, not renamed into place: that is what Kestra does, and what a copy has to live with.
    """

    SCHEME = "kestra://"

    def __init__(self, base, tenant=None):
        self.base = os.path.abspath(base)
        self.tenant = tenant
        os.makedirs(self.base, exist_ok=True)

    def path(self, uri):
        """The file of a kestra:/// URI or an absolute storage path."""
        if uri.startswith(self.SCHEME):
            uri = uri[len(self.SCHEME):]
        if not uri.startswith("/") or ".." in uri.split("/"):
            raise StorageError("Invalid storage path %s" % uri)
        root = os.path.join(self.base, self.tenant) if self.tenant else self.base
        return os.path.join(root, *[part for part in uri.split("/") if part])

    def put(self, path, content, metadata=None):
        """Write a file (bytes) and, when metadata is given, its side file; returns the URI."""
        target = self.path(path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as handle:
            handle.write(content)
        if metadata is not None:
            with open(target + ".metadata", "wb") as handle:
                handle.write(ion_map(metadata).encode())
        return self.SCHEME + path

    def get(self, uri):
        """A file's bytes."""
        try:
            with open(self.path(uri), "rb") as handle:
                return handle.read()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise StorageError("%s does not exist" % uri) from None

    def metadata(self, uri):
        """What the side file of a file says; None when it has none."""
        try:
            return of_ion_map(self.get(uri + ".metadata").decode())
        except StorageError:
            return None

    def missing(self):
        """True when the directory is gone."""
        return not os.path.isdir(self.base)

    def exists(self, uri):
        """True for a file or directory."""
        return os.path.exists(self.path(uri))

    def make_directory(self, path):
        """Create a directory that may stay empty."""
        os.makedirs(self.path(path), exist_ok=True)

    def delete(self, uri):
        """Delete a file with its side file, or a whole directory; True when there was something."""
        target = self.path(uri)
        if os.path.isdir(target):
            shutil.rmtree(target)
            return True
        found = False
        for name in (target, target + ".metadata"):
            if os.path.exists(name):
                os.unlink(name)
                found = True
        return found

    def files(self, path):
        """Storage paths of all files below a directory, side files left out, sorted."""
        top = self.path(path)
        found = []
        for directory, _directories, names in os.walk(top):
            for name in names:
                if not name.endswith(".metadata"):
                    below = os.path.relpath(os.path.join(directory, name), top)
                    found.append(path.rstrip("/") + "/" + below)
        return sorted(found)


def opened(kind, settings, tenant=None):
    """The storage that config.storage() tells of."""
    if kind == "local":
        return LocalStorage(settings["base"], tenant)
    # Each needs its SDK.
    if kind == "azure":
        from .bucket_azure import AzureStorage
        return AzureStorage(settings, tenant)
    if kind == "gcs":
        from .bucket_gcs import GcsStorage
        return GcsStorage(settings, tenant)
    from .bucket_s3 import S3Storage
    return S3Storage(settings, tenant)


def namespace_path(namespace):
    """/company/team of company.team."""
    return "/" + namespace.replace(".", "/")


def execution_path(namespace, flow_id, execution_id):
    """Where an execution's files lie."""
    return "%s/%s/executions/%s" % (namespace_path(namespace), slug(flow_id), execution_id)


def task_path(task_run):
    """Where a task run's files lie."""
    return "%s/tasks/%s/%s" % (
        execution_path(task_run["namespace"], task_run["flowId"], task_run["executionId"]),
        slug(task_run["taskId"]), task_run["id"])


def namespace_file(namespace, path):
    """Where a namespace file lies: a blank in its name is stored as +."""
    return "%s/_files/%s" % (namespace_path(namespace), path.lstrip("/").replace(" ", "+"))


def kv_file(namespace, key):
    """Where a key's value lies."""
    return "%s/_kv/%s.ion" % (namespace_path(namespace), key)
