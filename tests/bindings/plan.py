#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""librfs from Python, by ctypes alone: plans a bundle, shows the plan, and reads the error of a bundle that can't be.

usage: plan.py LIBRFS_SO BUNDLE"""

import ctypes
import errno
import json
import os
import sys

# The header's constants that are used here.
RFS_STAGE_CONFIG, RFS_OBJECT_MOUNT = 1, 1


class Error(ctypes.Structure):
    """rfs_error, as far as it is read here: librfs fills no more than `size` says."""
    _fields_ = [("size", ctypes.c_uint64), ("code", ctypes.c_int32), ("stage", ctypes.c_uint32),
                ("object", ctypes.c_uint32), ("reserved", ctypes.c_uint32), ("index", ctypes.c_int64),
                ("operation", ctypes.c_char * 32), ("path", ctypes.c_char * 256), ("message", ctypes.c_char * 1024)]

    def __init__(self):
        super().__init__(size=ctypes.sizeof(Error))


class Failed(Exception):
    def __init__(self, error):
        super().__init__(error.message.decode(errors="backslashreplace"))
        self.error = error


class Librfs:
    def __init__(self, path):
        self.library = ctypes.CDLL(path)
        self.library.rfs_version.restype = ctypes.c_char_p
        for name in ("rfs_config_free", "rfs_plan_free"):
            getattr(self.library, name).argtypes = [ctypes.c_void_p]
            getattr(self.library, name).restype = None

    def call(self, name, *arguments):
        error = Error()
        result = getattr(self.library, name)(*arguments, ctypes.byref(error))
        if result < 0:
            assert result == error.code, f"{name} returned {result}, but wrote {error.code}"
            raise Failed(error)
        return result

    def plan(self, config_json, bundle):
        """The steps of rfs_plan_describe(), one object a line."""
        config, plan = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("rfs_config_from_oci", config_json, ctypes.c_size_t(len(config_json)), os.fsencode(bundle),
                  ctypes.byref(config))
        try:
            self.call("rfs_plan_new", config, ctypes.byref(plan))
        finally:
            self.library.rfs_config_free(config)
        with os.fdopen(os.memfd_create("plan"), "r+") as file:
            try:
                self.call("rfs_plan_describe", plan, file.fileno())
            finally:
                self.library.rfs_plan_free(plan)
            file.seek(0)
            return [json.loads(line) for line in file]


def main():
    library, bundle = Librfs(sys.argv[1]), os.path.realpath(sys.argv[2])
    with open(os.path.join(bundle, "config.json"), "rb") as file:
        text = file.read()
    steps = library.plan(text, bundle)
    assert "/proc" in json.dumps(steps), f"the plan does not mount /proc: {steps}"

    broken = json.loads(text)
    broken["mounts"][1]["destination"] = "/proc/sys"
    try:
        library.plan(json.dumps(broken).encode(), bundle)
    except Failed as failed:
        error = failed.error
        print(f"librfs {library.library.rfs_version().decode()}: {failed}")
        assert (error.code, error.object, error.index) == (-errno.EINVAL, RFS_OBJECT_MOUNT, 1), error.index
        assert "/proc/sys" in str(failed), failed
    else:
        sys.exit("a mount on /proc/sys was planned")


main()
