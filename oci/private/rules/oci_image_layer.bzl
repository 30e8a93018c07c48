"""The rule for a file system layer."""

load("//oci/private/common:layer_action.bzl", "COMPRESSION_ATTR", "layer_action")
load("//oci/private/common:toolchain.bzl", "TOOLCHAIN_TYPE")
load("//oci/private/providers:image.bzl", "OCIDescriptorInfo")

# Where a distribution with merged directories has links.
_USR_MERGE = {
    "/bin": "usr/bin",
    "/lib": "usr/lib",
    "/lib32": "usr/lib32",
    "/lib64": "usr/lib64",
    "/sbin": "usr/sbin",
}

def _oci_image_layer_impl(ctx):
    arguments = ctx.actions.args()
    arguments.use_param_file("@%s")
    arguments.set_param_file_format("shell")
    if ctx.attr.mtime < 0:
        fail("{}: mtime is {}, but it counts seconds since 1970".format(ctx.label, ctx.attr.mtime))
    arguments.add("--owner", ctx.attr.owner)
    arguments.add("--mtime", ctx.attr.mtime)
    if ctx.attr.mode:
        arguments.add("--mode", ctx.attr.mode)
    links = dict(_USR_MERGE if ctx.attr.usr_merge else {})
    links.update(ctx.attr.links)
    inputs = []
    for path, target in ctx.attr.files.items():
        inputs += _add_target(arguments, target, path)
    for path in ctx.attr.directories:
        arguments.add("--empty-directory", path)
    for flag, values in [
        ("--base-link", links),
        ("--parent", ctx.attr.parents),
        ("--symlink", ctx.attr.symlinks),
        ("--path-mode", ctx.attr.modes),
    ]:
        for path, value in values.items():
            arguments.add(flag)
            arguments.add(path)
            arguments.add(value)
    archives = ctx.files.tars
    arguments.add_all(archives, before_each = "--tar")
    is_archive = len(archives) == 1 and not (ctx.attr.files or ctx.attr.directories or ctx.attr.symlinks or links)
    layer = layer_action(
        ctx,
        name = ctx.label.name,
        arguments = arguments,
        inputs = depset(archives, transitive = inputs),
        compression = ctx.attr.compression,
        archive = archives[0] if is_archive else None,
    )
    return [DefaultInfo(files = depset([layer.blob])), layer]

def _add_target(arguments, target, path):
    """Adds a target's files at a path; returns the depsets that they are in."""
    info = target[DefaultInfo]

    # A file's own target, and that of a group of one file, has an executable, too, but no runfiles.
    program = info.files_to_run.executable if info.files_to_run.runfiles_manifest else None
    if program:
        return _add_program(arguments, info, program, _place(path, program))

    # One file stands at the path itself; several stand below it, as they do in the package.
    files = info.files.to_list()
    package = target.label.package + "/" if target.label.package else ""
    for file in files:
        below = _place(path, file)
        if len(files) > 1:
            relative = file.short_path
            if relative.startswith("../"):
                relative = "/".join(relative.split("/")[2:])
            below = path.rstrip("/") + "/" + relative.removeprefix(package)
        arguments.add(_flag(file, "--file"))
        arguments.add(below)
        arguments.add_all([file], expand_directories = False)
    return [info.files]

def _place(path, file):
    """Where a file stands that is said to be at a path, or below it if that ends with a slash."""
    return path + file.basename if path.endswith("/") and not file.is_directory else path

def _add_program(arguments, info, executable, path):
    """Adds a program and its runfiles; returns the depsets that they are in."""
    arguments.add("--executable")
    arguments.add(path)
    arguments.add(executable)
    inputs = [depset([executable])]
    runfiles = info.default_runfiles.files
    links = info.default_runfiles.symlinks.to_list()
    root_links = info.default_runfiles.root_symlinks.to_list()

    # Flattened, because a program that needs nothing but itself should come alone.
    if not links and not root_links and runfiles.to_list() in ([], [executable]):
        return inputs
    root = path + ".runfiles"

    def flags(file):
        return [_flag(file, "--executable"), root + "/" + _below(file.short_path), file.path]

    arguments.add_all(runfiles, map_each = flags, allow_closure = True, expand_directories = False)
    inputs.append(runfiles)
    for prefix, entries in [("/_main/", links), ("/", root_links)]:
        for link in entries:
            arguments.add(_flag(link.target_file, "--executable"))
            arguments.add(root + prefix + link.path)
            arguments.add_all([link.target_file], expand_directories = False)
            inputs.append(depset([link.target_file]))
    for name in info.default_runfiles.empty_filenames.to_list():
        # Where runfiles have other repositories in two places, the names are those of the old one.
        if name.startswith("external/"):
            name = "../" + name.removeprefix("external/")
        arguments.add("--empty-file", root + "/" + _below(name))
    mapping = getattr(info.files_to_run, "repo_mapping_manifest", None)
    if mapping:
        arguments.add("--file")
        arguments.add(root + "/_repo_mapping")
        arguments.add(mapping)
        inputs.append(depset([mapping]))
    return inputs

def _below(path):
    """Where a file of runfiles stands, by its short path."""
    return path.removeprefix("../") if path.startswith("../") else "_main/" + path

def _flag(file, generated):
    """How the tool is told what a file is; `generated` is for one that is no source."""
    if file.is_directory:
        return "--directory"
    if getattr(file, "is_symlink", False):
        return "--link"
    return "--source" if file.is_source else generated

oci_image_layer = rule(
    implementation = _oci_image_layer_impl,
    doc = """Makes a layer of files (OCI image spec, layer.md).

The same inputs give the same bytes: entries are sorted by path, and owners, modes and times do not
come from the machine. Provides OCIDescriptorInfo.

A directory that is there only because something is in it belongs to root and has the mode that distributions give it: 1777
for `/tmp` and `/var/tmp`, 0700 for `/root`, else 0755. Where the base has a link or another mode, `links` and `parents` say
so; an `oci_layout_test` fails if they should.""",
    attrs = {
        "compression": COMPRESSION_ATTR,
        "directories": attr.string_list(
            doc = "Paths of directories, which may stay empty.",
        ),
        "files": attr.string_keyed_label_dict(
            doc = """Dict of path to label. A label with one file has it at the path, or below the path if that ends with
a slash; one with several files, or with a directory, has them below the path. An executable target is placed with its runfiles
at `PATH.runfiles`. What the build made as a link is a link with the same text, and links in a directory stay links, which must
not lead out of it.""",
            allow_files = True,
        ),
        "links": attr.string_dict(
            doc = """Dict of path to what the base's symbolic link there points to: what is to be below the path goes where
the link leads, as a Dockerfile's `COPY` has it.""",
        ),
        "mode": attr.string(
            doc = """The mode of all regular files, in octal. By default executables and what is in directories have
0755, and other files 0644; a source file is executable if it may be executed and begins with `#!` or is an ELF program.""",
        ),
        "modes": attr.string_dict(
            doc = "Dict of path to mode, in octal, for single paths.",
        ),
        "mtime": attr.int(
            doc = "The modification time of all entries but those of `tars`, in seconds since 1970.",
        ),
        "owner": attr.string(
            doc = "`UID:GID` in numbers, of all that is named, but for the entries of `tars`.",
            default = "0:0",
        ),
        "parents": attr.string_dict(
            doc = """Dict of path to mode, in octal, and owner, such as `"0750 33:33"`, of directories that are there only
because something is in them, where the base has others than the usual.""",
        ),
        "symlinks": attr.string_dict(
            doc = "Dict of path to what the symbolic link there points to.",
        ),
        "tars": attr.label_list(
            doc = """Labels of tar archives, which may be compressed by gzip, zstd or xz, or be in a Debian package; their
entries keep owner, mode and time. A layer of one archive and nothing else keeps the archive's bytes.""",
            allow_files = True,
        ),
        "usr_merge": attr.bool(
            doc = """Whether the base has the usual links in `/` to what is in `/usr`: of `/bin`, `/sbin`, `/lib`, `/lib32`
and `/lib64`.""",
        ),
    },
    provides = [OCIDescriptorInfo],
    toolchains = [TOOLCHAIN_TYPE],
)
