"""The rule for a file system layer."""

load("//oci/private/common:layer_action.bzl", "layer_action")
load("//oci/private/common:toolchain.bzl", "TOOLCHAIN_TYPE")
load("//oci/private/providers:image.bzl", "OCIDescriptorInfo")

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
    inputs = []
    for target, paths in ctx.attr.files.items():
        for path in json.decode(paths):
            inputs += _add_target(arguments, target, path)
    for path in ctx.attr.directories:
        arguments.add("--empty-directory", path)
    for path, link_target in ctx.attr.symlinks.items():
        arguments.add("--symlink")
        arguments.add(path)
        arguments.add(link_target)
    for path, mode in ctx.attr.modes.items():
        arguments.add("--path-mode")
        arguments.add(path)
        arguments.add(mode)
    arguments.add_all(ctx.files.tars, before_each = "--tar")
    layer = layer_action(
        ctx,
        name = ctx.label.name,
        arguments = arguments,
        inputs = depset(ctx.files.tars, transitive = inputs),
        compression = ctx.attr.compression,
    )
    return [DefaultInfo(files = depset([layer.blob])), layer]

def _add_target(arguments, target, path):
    """Adds a target's files at a path; returns the depsets that they are in."""
    info = target[DefaultInfo]
    executable = info.files_to_run.executable
    if executable and not executable.is_source:
        arguments.add("--executable")
        arguments.add(path)
        arguments.add(executable)
        inputs = [depset([executable])]
        runfiles = info.default_runfiles.files
        links = info.default_runfiles.symlinks.to_list()
        root_links = info.default_runfiles.root_symlinks.to_list()

        # Flattened, because a program that needs nothing but itself should come alone.
        if links or root_links or runfiles.to_list() not in ([], [executable]):
            root = path + ".runfiles"

            def flags(file):
                return _runfile_flags(file, root)

            arguments.add_all(runfiles, map_each = flags, allow_closure = True, expand_directories = False)
            inputs.append(runfiles)
            for prefix, entries in [("/_main/", links), ("/", root_links)]:
                for link in entries:
                    arguments.add("--executable")
                    arguments.add(root + prefix + link.path)
                    arguments.add(link.target_file)
                    inputs.append(depset([link.target_file]))
            for name in info.default_runfiles.empty_filenames.to_list():
                arguments.add("--empty-file", root + "/_main/" + name)
            mapping = getattr(info.files_to_run, "repo_mapping_manifest", None)
            if mapping:
                arguments.add("--file")
                arguments.add(root + "/_repo_mapping")
                arguments.add(mapping)
                inputs.append(depset([mapping]))
        return inputs

    # One file stands at the path itself; several stand below it, as they do in the package.
    files = info.files.to_list()
    package = target.label.package + "/" if target.label.package else ""
    for file in files:
        below = path
        if len(files) > 1:
            relative = file.short_path
            if relative.startswith("../"):
                relative = "/".join(relative.split("/")[2:])
            below = path.rstrip("/") + "/" + relative.removeprefix(package)
        arguments.add("--directory" if file.is_directory else "--file")
        arguments.add(below)
        arguments.add_all([file], expand_directories = False)
    return [info.files]

def _runfile_flags(file, root):
    path = file.short_path
    path = path[len("../"):] if path.startswith("../") else "_main/" + path
    return ["--directory" if file.is_directory else "--executable", root + "/" + path, file.path]

_oci_image_layer = rule(
    implementation = _oci_image_layer_impl,
    attrs = {
        "compression": attr.string(default = "gzip", values = ["gzip", "zstd", "none"]),
        "directories": attr.string_list(),
        # The paths as a JSON list, because a label may stand at several paths.
        "files": attr.label_keyed_string_dict(allow_files = True),
        "mode": attr.string(),
        "modes": attr.string_dict(),
        "mtime": attr.int(),
        "owner": attr.string(default = "0:0"),
        "symlinks": attr.string_dict(),
        "tars": attr.label_list(allow_files = True),
    },
    provides = [OCIDescriptorInfo],
    toolchains = [TOOLCHAIN_TYPE],
)

def oci_image_layer(
        name,
        files = {},
        directories = [],
        symlinks = {},
        tars = [],
        compression = "gzip",
        owner = "0:0",
        mode = "",
        modes = {},
        mtime = 0,
        **kwargs):
    """Makes a layer of files (OCI image spec, layer.md).

    The same inputs give the same bytes: entries are sorted by path, and owners, modes and times do not
    come from the machine. The directories that lead to an entry are made with mode 0755. Provides
    OCIDescriptorInfo.

    Args:
      name: the target's name.
      files: dict of path to label. A label with one file has it at the path; one with several files, or
        with a directory, has them below the path. An executable target is placed with its runfiles at
        `PATH.runfiles`.
      directories: paths of directories, which may stay empty.
      symlinks: dict of path to what the symbolic link there points to.
      tars: labels of tar archives, which may be compressed; their entries keep owner, mode and time. A
        layer of one archive and nothing else keeps the archive's bytes.
      compression: `gzip`, which everything reads; `zstd`, which is smaller and faster; or `none`.
      owner: `UID:GID` in numbers, of all entries but those of `tars`.
      mode: the mode of all regular files, in octal. By default executables and what is in directories
        have 0755, and other files 0644.
      modes: dict of path to mode, in octal, for single paths.
      mtime: the modification time of all entries but those of `tars`, in seconds since 1970.
      **kwargs: attributes that all rules have, such as `visibility`.
    """
    paths = {}
    for path, label in files.items():
        paths.setdefault(native.package_relative_label(label), []).append(path)
    _oci_image_layer(
        name = name,
        compression = compression,
        directories = directories,
        files = {label: json.encode(paths) for label, paths in paths.items()},
        mode = mode,
        modes = modes,
        mtime = mtime,
        owner = owner,
        symlinks = symlinks,
        tars = tars,
        **kwargs
    )
