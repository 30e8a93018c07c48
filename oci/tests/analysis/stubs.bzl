"""Targets that stand for images, layers and bases, and name their files by the configuration that they are in."""

load("//oci/private/providers:artifact.bzl", "OCIArtifactFilesInfo", "OCIArtifactInfo")
load("//oci/private/providers:image.bzl", "OCIDescriptorInfo", "OCIImageInfo", "OCIPlatformInfo")
load("//oci/private/providers:layout.bzl", "OCILayoutInfo")
load("//oci/private/providers:pulled_image.bzl", "OCIPulledImageInfo")

def _file(ctx, suffix):
    """A file whose name tells whether bases are to come with all their layers."""
    file = ctx.actions.declare_file("{}.pull_all_{}.{}".format(ctx.label.name, "on" if ctx.attr.pull_all else "off", suffix))
    ctx.actions.write(file, "")
    return file

def _stub_layer_impl(ctx):
    blob = _file(ctx, "tar")
    return [
        DefaultInfo(files = depset([blob])),
        OCIDescriptorInfo(blob = blob, descriptor = _file(ctx, "descriptor.json")),
    ]

_stub_layer = rule(
    implementation = _stub_layer_impl,
    attrs = {"pull_all": attr.bool()},
)

def _stub_base_impl(ctx):
    platform = OCIPlatformInfo(os = "linux", architecture = ctx.attr.architecture, variant = "")
    image = OCIImageInfo(
        config = _file(ctx, "config.json"),
        descriptor = _file(ctx, "descriptor.json"),
        layers = depset(order = "preorder"),
        manifest = _file(ctx, "manifest.json"),
        platform = platform,
        pulled_digest = ctx.attr.digest,
        pulled_from = None,
    )
    if not ctx.attr.pull_all or not ctx.attr.whole:
        return [image]
    blobs = depset([_file(ctx, "blob")])
    return [image, OCIPulledImageInfo(
        blobs = blobs,
        images = {ctx.attr.digest: blobs},
        referrers = {},
        referrers_indexes = depset(),
    )]

_stub_base = rule(
    implementation = _stub_base_impl,
    attrs = {
        "architecture": attr.string(),
        "digest": attr.string(default = "sha256:base"),
        "pull_all": attr.bool(),
        "whole": attr.bool(default = True),
    },
)

def _stub_artifact_impl(ctx):
    return [OCIArtifactInfo(
        artifact_type = "application/x.example",
        digest = "sha256:artifact",
        files = OCIArtifactFilesInfo(
            files = {name: _file(ctx, name) for name in ctx.attr.files},
            problems = ctx.attr.problems,
        ) if ctx.attr.files else None,
        manifest = _file(ctx, "manifest.json"),
    )]

_stub_artifact = rule(
    implementation = _stub_artifact_impl,
    attrs = {
        "files": attr.string_list(),
        "problems": attr.string_dict(),
        "pull_all": attr.bool(),
    },
)

def _pull_all():
    return select({
        "//oci:pull_all_enabled": True,
        "//conditions:default": False,
    })

def stub_layer(name):
    """A layer.

    Args:
      name: the target's name.
    """
    _stub_layer(name = name, pull_all = _pull_all(), tags = ["manual"])

def stub_artifact(name, files = [], problems = {}):
    """A pulled artifact.

    Args:
      name: the target's name.
      files: the names of its files, if they are to be had.
      problems: what is to be said of them.
    """
    _stub_artifact(name = name, files = files, problems = problems, pull_all = _pull_all(), tags = ["manual"])

def stub_base(name, architecture = "amd64", digest = "sha256:base", whole = True):
    """A pulled base, which has its layers where they are wanted.

    Args:
      name: the target's name.
      architecture: `GOARCH`.
      digest: the digest of its manifest.
      whole: whether the layers are to be had at all.
    """
    _stub_base(name = name, architecture = architecture, digest = digest, pull_all = _pull_all(), tags = ["manual"], whole = whole)

def _stub_database_impl(ctx):
    files = [ctx.actions.declare_file(ctx.label.name + "/" + name) for name in ctx.attr.files]
    for file in files:
        ctx.actions.write(file, "")
    return [DefaultInfo(files = depset(files))]

stub_database = rule(
    implementation = _stub_database_impl,
    doc = "Files with the names of a database, of Trivy's unless told.",
    attrs = {"files": attr.string_list(default = ["trivy.db", "metadata.json"])},
)

def _stub_program_impl(ctx):
    program = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.write(program, "", is_executable = True)
    return [DefaultInfo(executable = program)]

stub_program = rule(
    implementation = _stub_program_impl,
    doc = "A program.",
    executable = True,
)

def _stub_layout_impl(ctx):
    directory = ctx.actions.declare_directory(ctx.label.name)
    other = ctx.actions.declare_file(ctx.label.name + ".other")
    ctx.actions.run(executable = "false", outputs = [directory])
    ctx.actions.write(other, "")
    return [
        DefaultInfo(files = depset([other, directory])),
        OCILayoutInfo(
            directory = directory,
            images = [
                struct(
                    base_digest = digest,
                    platform = OCIPlatformInfo(architecture = architecture, os = "linux", variant = ""),
                )
                for architecture, digest in ctx.attr.base_digests.items()
            ],
        ),
    ]

stub_layout = rule(
    implementation = _stub_layout_impl,
    doc = "A layout as another ruleset may make it, among other files, with an image for each architecture.",
    attrs = {"base_digests": attr.string_dict()},
)
