"""What the repository rules oci_pull and oci_pull_all have in common."""

load("//oci/private/common:arguments.bzl", "plain_http_argument")
load(":host.bzl", "tool_name")
load(":pull_attrs.bzl", "check_digest", "check_name", "check_pull", "image_name")

# A day: the tool itself gives up on what does not move.
_TIMEOUT_SECONDS = 24 * 60 * 60

# Canonical, because a repository that the root module declares sees this module by whatever name that
# one gave it.
_ARTIFACT_FILES = str(Label("//oci/private/rules:oci_artifact_files.bzl"))
_PULLED_ARTIFACT = str(Label("//oci/private/rules:pulled_artifact.bzl"))
_PULLED_ARTIFACT_FILES = str(Label("//oci/private/rules:pulled_artifact_files.bzl"))
_PULLED_BLOBS = str(Label("//oci/private/rules:pulled_blobs.bzl"))
_PULLED_IMAGE = str(Label("//oci/private/rules:pulled_image.bzl"))
_PULLED_INDEX = str(Label("//oci/private/rules:pulled_index.bzl"))

# The rules are the repository's own, because a rule cannot depend on a toolchain type that an attribute
# names.
_PULLED_BZL = """\
load({pulled_artifact}, "pulled_artifact_rule")
load({pulled_image}, "pulled_image_rule")
load({pulled_index}, "pulled_index_rule")

pulled_artifact = pulled_artifact_rule({toolchain_type})
pulled_image = pulled_image_rule({toolchain_type})
pulled_index = pulled_index_rule({toolchain_type})
"""

# The repository with a toolchain and its type for each base of the module extension.
PULLED_TOOLCHAINS = "oci_pulled_toolchains"

# The directory with the files of an artifact.
_FILES = "files"

def pull(rctx, shallow, on_demand = False):
    """Fills a repository with an image as an OCI image layout and with targets for it.

    Args:
      rctx: the repository_ctx, with the attributes of PULL_ATTRS and, unless it is shallow, of REFERRERS_ATTRS.
      shallow: whether to leave the layers out.
      on_demand: for a shallow repository, whether a toolchain of PULLED_TOOLCHAINS has all blobs.
    """
    problem = check_name(_apparent_name(rctx)) or check_pull(rctx.attr) or check_digest(rctx.attr)
    if problem:
        fail("{}: {}".format(_apparent_name(rctx), problem))
    name = image_name(rctx.attr)
    tool = rctx.path(rctx.attr._tool).dirname.get_child(tool_name(rctx))
    command = [
        tool,
        "pull",
        "{}@{}".format(name, rctx.attr.digest),
        "--output=.",
        "--summary=summary.json",
    ]
    if shallow:
        command.append("--shallow")
    else:
        command.append("--files=" + _FILES)
        if rctx.attr.referrers:
            command.append("--referrers")
    command.extend(["--platform=" + platform for platform in rctx.attr.platforms])
    command.extend(["--mirror=" + mirror for mirror in rctx.attr.mirrors])
    if rctx.attr.plain_http:
        command.append(plain_http_argument(name))
    if rctx.attr.docker_config:
        command.append("--docker-config={}".format(rctx.path(rctx.attr.docker_config)))

    store = rctx.os.environ.get("OCI_PULL_ALL_STORE", "")
    if store and not (store.startswith("/") or store[1:2] == ":"):
        fail("OCI_PULL_ALL_STORE is {}, but it must be an absolute path, to be one store for all repositories".format(repr(store)))

    # No variable of the environment is watched: the digest fixes the bytes, wherever they come from
    # and whoever asks for them.
    result = rctx.execute(command, timeout = _TIMEOUT_SECONDS, quiet = False)
    if result.return_code != 0:
        fail("{}: {}".format(_apparent_name(rctx), _failure(result)))
    summary = json.decode(rctx.read("summary.json"))
    rctx.delete("summary.json")
    if not summary["images"] and not summary["artifact"]:
        fail("{}: the index {} lists no image; oci-pull-all resolve {}@{} says which artifacts it lists: pull one of them by its own digest".format(
            _apparent_name(rctx),
            rctx.attr.digest,
            name,
            rctx.attr.digest,
        ))
    rctx.file("pulled.bzl", _PULLED_BZL.format(
        pulled_artifact = repr(_PULLED_ARTIFACT),
        pulled_image = repr(_PULLED_IMAGE),
        pulled_index = repr(_PULLED_INDEX),
        toolchain_type = "Label({})".format(repr(_pulled_toolchain_type(rctx))) if on_demand else "None",
    ))
    rctx.file("BUILD.bazel", _build_file(rctx, name, summary, shallow))

def _failure(result):
    """What to say of a pull that failed, in one line, because Bazel repeats it three times."""
    if [line for line in result.stderr.split("\n") if line.startswith("error: ")]:
        return "it was not pulled; what begins with \"error:\" above says why, and what to do"
    return "it was not pulled: oci-pull-all ended with code {} and said no more than what is above".format(result.return_code)

def _apparent_name(rctx):
    # The name that the user gave: an attribute since Bazel 8, before that the canonical name's last
    # part.
    if hasattr(rctx, "original_name"):
        return rctx.original_name
    return rctx.name.replace("~", "+").split("+")[-1]

def _pulled_toolchain_type(rctx):
    return "@{}//types:{}".format(PULLED_TOOLCHAINS, _apparent_name(rctx))

def _build_file(rctx, source, summary, shallow):
    """Writes the targets: one for each image or for the artifact, one for all blobs, and one for the whole."""
    name = _apparent_name(rctx)
    lines = [
        "load({}, \"oci_artifact_files\")".format(repr(_ARTIFACT_FILES)),
        "load({}, \"pulled_artifact_files\")".format(repr(_PULLED_ARTIFACT_FILES)),
        "load({}, \"pulled_blobs\")".format(repr(_PULLED_BLOBS)),
        "load(\":pulled.bzl\", \"pulled_artifact\", \"pulled_image\", \"pulled_index\")",
        "",
        "package(default_visibility = [\"//visibility:public\"])",
        "",
        "exports_files([\"index.json\", \"oci-layout\"])",
    ]
    if summary["artifact"]:
        lines += _artifact(name, summary, shallow)
    else:
        lines += _images(rctx, name, source, summary, shallow)
    return "\n".join(lines) + "\n"

def _artifact(name, summary, shallow):
    root = summary["root"]
    artifact = summary["artifact"]
    lines = []
    if not shallow:
        lines += _target(
            "pulled_artifact_files",
            name = "blobs",
            directory = _FILES,
            files = _Code("glob([\"{}/**\"], allow_empty = True)".format(_FILES)),
            problems = {
                file["path"]: file["problem"]
                for file in artifact["files"]
                if file["problem"]
            },
        )
    lines += _target(
        "pulled_artifact",
        name = name,
        artifact_type = artifact["artifactType"],
        digest = root["digest"],
        manifest = _blob(root),
        pulled = None if shallow else ":blobs",
    )
    return lines + _target("oci_artifact_files", name = "files", artifact = ":" + name)

def _images(rctx, name, source, summary, shallow):
    lines = []
    pulled = None
    if not shallow:
        pulled = ":blobs"
        lines += _target(
            "pulled_blobs",
            name = "blobs",
            blobs = _Code("glob([\"blobs/**\"])"),
            images = {
                image["manifest"]["digest"]: [
                    _blob(descriptor)
                    for descriptor in [image["manifest"], image["config"]] + image["layers"]
                ]
                for image in summary["images"]
            },
            index = ":index.json",
            referrers = {
                referring["subject"]: [_blob(descriptor) for descriptor in referring["blobs"]]
                for referring in summary["referrers"]
            },
        )
    root = summary["root"]
    images = []
    for image in summary["images"]:
        is_root = image["manifest"]["digest"] == root["digest"]
        target = name if is_root else image["manifest"]["digest"].replace(":", "-")
        images.append(":" + target)
        platform = image["platform"]
        lines += _target(
            "pulled_image",
            name = target,
            architecture = platform["architecture"],
            config = _blob(image["config"]),
            digest = image["manifest"]["digest"],
            manifest = _blob(image["manifest"]),
            manifest_size = image["manifest"]["size"],
            media_type = image["manifest"]["mediaType"],
            os = platform["os"],
            plain_http = rctx.attr.plain_http,
            pulled = pulled,
            pulled_digest = root["digest"],
            source = source,
            tag = rctx.attr.tag,
            os_version = platform.get("os.version", ""),
            variant = platform.get("variant", ""),
        )
    if images != [":" + name]:
        lines += _target(
            "pulled_index",
            name = name,
            digest = root["digest"],
            images = images,
            index = _blob(root),
            manifest_size = root["size"],
            media_type = root["mediaType"],
            plain_http = rctx.attr.plain_http,
            pulled = pulled,
            pulled_digest = root["digest"],
            source = source,
            tag = rctx.attr.tag,
        )
    return lines

def _blob(descriptor):
    return "blobs/" + descriptor["digest"].replace(":", "/")

def _Code(code):
    return struct(code = code)

def _target(rule, **attrs):
    # A registry's strings end up here, so nothing but repr may write them.
    lines = ["", rule + "("]
    for key, value in attrs.items():
        if value != None:
            code = value.code if type(value) == "struct" else repr(value)
            lines.append("    {} = {},".format(key, code))
    return lines + [")"]
