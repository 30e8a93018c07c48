"""The action that makes a layer, and what all layers can be told."""

load("//oci/private/providers:image.bzl", "OCIDescriptorInfo")
load(":arguments.bzl", "tool_arguments")
load(":toolchain.bzl", "TOOLCHAIN_TYPE", "get_tool")

COMPRESSION_ATTR = attr.string(
    doc = """`gzip`, which everything reads; `zstd`, which is smaller and faster; or `none`. By default a layer that is one
archive stays as it is, if OCI has a media type for it, and all others are compressed by gzip.""",
    values = ["", "gzip", "zstd", "none"],
)

# Where a distribution with merged directories has links.
_USR_MERGE = {
    "/bin": "usr/bin",
    "/lib": "usr/lib",
    "/lib32": "usr/lib32",
    "/lib64": "usr/lib64",
    "/sbin": "usr/sbin",
}

def layer_arguments(ctx):
    """Begins the arguments of a layer.

    Args:
      ctx: the context of a rule with LAYER_ATTRS.

    Returns:
      An Args.
    """
    if ctx.attr.mtime < 0:
        fail("{}: mtime is {}, but it counts seconds since 1970".format(ctx.label, ctx.attr.mtime))
    arguments = tool_arguments(ctx, "layer")
    arguments.add(ctx.attr.owner, format = "--owner=%s")
    arguments.add("--mtime", ctx.attr.mtime)
    if ctx.attr.mode:
        arguments.add(ctx.attr.mode, format = "--mode=%s")
    links = dict(_USR_MERGE if ctx.attr.usr_merge else {})
    links.update(ctx.attr.links)
    add_pairs(arguments, "--base-link", links)
    add_pairs(arguments, "--parent", ctx.attr.parents)
    add_pairs(arguments, "--path-mode", ctx.attr.modes)
    add_pairs(arguments, "--metadata", ctx.attr.metadata)
    return arguments

def add_pairs(arguments, flag, values):
    """Adds a flag that takes two words, once for each entry of a dict.

    Args:
      arguments: an Args.
      flag: the flag.
      values: a dict of string to string.
    """
    for key, value in values.items():
        arguments.add(flag)
        arguments.add(key)
        arguments.add(value)

def layer_action(ctx, name, arguments, inputs, compression, archive = None, picks = None):
    """Runs the action that makes a layer.

    Args:
      ctx: the rule's context.
      name: the stem of the outputs' names.
      arguments: the Args of the tool's command `layer`, with the layer's content.
      inputs: a depset of the files that `arguments` names.
      compression: `gzip`, `zstd` or `none`; empty for that of `archive`, or gzip.
      archive: a File, the archive that is all of the layer, or None.
      picks: an Args that takes a part of the inputs, so that a change of the others does not make the layer anew; or None.

    Returns:
      An OCIDescriptorInfo.
    """
    blob = ctx.actions.declare_file(name + _suffix(compression, archive))
    descriptor = ctx.actions.declare_file(name + ".descriptor.json")
    unnamed_parents = ctx.actions.declare_file(name + ".unnamed_parents.json")
    outputs = ctx.actions.args()
    outputs.add("--output", blob)
    outputs.add("--descriptor", descriptor)
    outputs.add("--unnamed-parents", unnamed_parents)
    if compression:
        outputs.add("--compression", compression)
    unused_inputs = None
    if picks:
        unused_inputs = ctx.actions.declare_file(name + ".unused_inputs")
        outputs.add("--unused-inputs", unused_inputs)
    ctx.actions.run(
        executable = get_tool(ctx),
        arguments = [arguments, outputs] + ([picks] if picks else []),
        inputs = inputs,
        outputs = [blob, descriptor, unnamed_parents] + ([unused_inputs] if picks else []),
        unused_inputs_list = unused_inputs,
        mnemonic = "OCILayer",
        progress_message = "Building layer %{label}",
        toolchain = TOOLCHAIN_TYPE,
    )
    return OCIDescriptorInfo(blob = blob, descriptor = descriptor, unnamed_parents = unnamed_parents)

def _suffix(compression, archive):
    """What the name of a layer's file ends with; only the tool knows what an archive is, whatever its name."""
    if archive and not compression:
        if archive.basename.endswith(".tar"):
            return ".tar"
        if archive.extension in ["zst", "tzst"]:
            return ".tar.zst"
    return {"none": ".tar", "zstd": ".tar.zst"}.get(compression, ".tar.gz")

LAYER_ATTRS = {
    "compression": COMPRESSION_ATTR,
    "links": attr.string_dict(
        doc = """Dict of path to what the base's symbolic link there points to: what is to be below the path goes where
the link leads, as a Dockerfile's `COPY` has it.""",
    ),
    "metadata": attr.string_dict(
        doc = """Dict of pattern to what all paths that match it are given, in archives too: words of mtree(5), such as
`"mode=0640 uid=33 gname=www-data"`, of `mode` in octal, `uid`, `gid`, `uname`, `gname` and `time` in seconds since 1970. In a
pattern `*` stands for what is in one component and `?` for a byte of it, `**` for components, `[ab]` for a choice of bytes and
`{a,b}` of texts. A later pattern counts before an earlier one. One that nothing matches is an error. A directory that is there
only because something is in it is meant by its own path alone, and a hard link has what it is another name of. `uid` without
`uname` drops an archive's name, and `gid` its group's.""",
    ),
    "mode": attr.string(
        doc = """The mode of all regular files, in octal. By default executables and what is in directories have
0755, and other files 0644; a source file is executable if it may be executed and begins with `#!` or is an ELF program.""",
    ),
    "modes": attr.string_dict(
        doc = "Dict of path to mode, in octal, for single paths, in which no character is a pattern.",
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
    "usr_merge": attr.bool(
        doc = """Whether the base has the usual links in `/` to what is in `/usr`: of `/bin`, `/sbin`, `/lib`, `/lib32`
and `/lib64`.""",
    ),
}
