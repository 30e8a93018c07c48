#!/usr/bin/env python3
"""Compiles as the JavaBuilder of Bazel's java_tools does, which Debian lacks, with the JDK's own javac."""

import collections
import pathlib
import subprocess
import sys
import tempfile
import zipfile


def read(lines):
    """What stands behind each flag."""
    flags = collections.defaultdict(list)
    values = []
    for line in lines:
        if line == "--":
            values = []
        elif values is not flags.get("--javacopts") and line.startswith("--"):
            values = flags[line] = []
        else:
            values.append(line)
    return flags


def archive(jar, directory):
    with zipfile.ZipFile(jar, "w") as archive:
        for path in sorted(directory.rglob("*.class")):
            # With no time, for the same classes are the same bytes.
            archive.writestr(zipfile.ZipInfo(str(path.relative_to(directory))), path.read_bytes())


def main():
    files = [pathlib.Path(argument.removeprefix("@")) for argument in sys.argv[1:]]
    flags = read(line for file in files for line in file.read_text().splitlines())
    with tempfile.TemporaryDirectory() as classes:
        command = ["javac", "-d", classes, "-cp", ":".join(flags["--classpath"])]
        subprocess.run(command + flags["--javacopts"] + flags["--sources"], check=True)
        archive(flags["--output"][0], pathlib.Path(classes))
    for output in ["--native_header_output", "--output_manifest_proto", "--output_deps_proto"]:
        for path in flags[output]:
            pathlib.Path(path).touch()


main()
