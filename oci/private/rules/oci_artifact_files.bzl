"""The rule for files of an artifact."""

load("//oci/private/common:transitions.bzl", "pull_all_on", "single")
load("//oci/private/providers:artifact.bzl", "OCIArtifactInfo")

def _oci_artifact_files_impl(ctx):
    target = single(ctx.attr.artifact)
    pulled = target[OCIArtifactInfo].files
    if not pulled:
        fail("{}: the files of {} are not to be had, because only its manifest was pulled: declare it with oci.pull of the module extension @oci_pull_all//oci:extensions.bzl, or with oci_pull_all".format(
            ctx.label,
            target.label,
        ))
    files = []
    for path in ctx.attr.paths:
        found = [pulled.files[path]] if path in pulled.files else [
            file
            for name, file in pulled.files.items()
            if name.startswith(path.removesuffix("/") + "/")
        ]
        if not found:
            more = len(pulled.files) - _SHOWN
            fail("{}: {} has no file {}: it has {}{}{}".format(
                ctx.label,
                target.label,
                repr(path),
                ", ".join(sorted(pulled.files.keys())[:_SHOWN]) or "none",
                ", and {} more".format(more) if more > 0 else "",
                "".join(["; {} {}".format(archive, problem) for archive, problem in pulled.problems.items()]),
            ))
        files += found
    return [DefaultInfo(files = depset(files if ctx.attr.paths else pulled.files.values()))]

# How many names a message has.
_SHOWN = 20

oci_artifact_files = rule(
    implementation = _oci_artifact_files_impl,
    doc = """Files of an artifact that `oci.pull` declares, such as a scanner's database or a signed binary.

An artifact's blobs are files by their titles (annotation `org.opencontainers.image.title`), or else by their media
types; several of one media type and no title are `TYPE`, `TYPE-2` and so on. An archive (`.tar`, `.tar.gz`, `.tgz`,
`.tar.zst`) is a directory, too, called as it is without the ending: of `db.tar.gz`, there are `db.tar.gz` and what is in
it, such as `db/metadata.json`.

The files are fetched only where they are built. `@NAME//:files` has all of them.""",
    attrs = {
        "artifact": attr.label(
            doc = "The artifact: `@NAME` of an `oci.pull`.",
            mandatory = True,
            providers = [OCIArtifactInfo],
            cfg = pull_all_on,
        ),
        "paths": attr.string_list(
            doc = "The paths of files and directories in the artifact; all when empty.",
        ),
    },
)
