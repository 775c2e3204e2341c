"""The version of this software, in a module of its own: no stage uses it, so a new one reruns none."""

VERSION = "0.1.0"
