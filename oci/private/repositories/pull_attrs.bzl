"""What is asked for by oci_pull, oci_pull_all and the module extension, and what is wrong with it."""

load("//oci/private/common:platforms.bzl", "check_platform")

PULL_ATTRS = {
    "digest": attr.string(
        doc = """The digest of the image, image index or artifact: `sha256:` and 64 hex digits (OCI image
spec, descriptor.md, "Digests"). `bazel run @oci_pull_all//oci:oci-pull-all -- resolve IMAGE:TAG` prints it, and
`bazel run @oci_pull_all//:pin -- NAME` replaces it by the one that `tag` points to now.""",
        mandatory = True,
    ),
    "docker_config": attr.label(
        doc = """A file with credentials in the format of Docker's `config.json`, to be used instead of
the user's own ones.""",
        allow_single_file = True,
    ),
    "image": attr.string(
        doc = """The image's or artifact's name without tag and digest, such as `docker.io/library/debian`. Either
this or `registry` and `repository` must be given.""",
    ),
    "mirrors": attr.string_list(
        doc = """Where to ask before the registry, in this order: `mirror.example.com/hub` has this image as
`mirror.example.com/hub/REPOSITORY`. Whatever a mirror sends is verified; what none of them gives comes from the
registry. `http://` before a mirror speaks plain HTTP to it.

This is the project's choice. A site that has mirrors for all pulls sets the environment variable
`OCI_PULL_ALL_MIRRORS`, such as `docker.io=mirror.example.com/hub,quay.io=mirror.example.com/quay`; they are asked
before these.""",
    ),
    "plain_http": attr.bool(
        doc = """Whether to speak plain HTTP to the registry. A registry on the machine's loopback
needs no permission.""",
    ),
    "platforms": attr.string_list(
        doc = """The platforms to pull, such as `linux/amd64` or `linux/arm64/v8`; all when empty. The
image index keeps its digest in any case.""",
    ),
    "registry": attr.string(doc = "The registry's host, perhaps with a port, such as `docker.io`."),
    "repository": attr.string(doc = "The repository in the registry, such as `library/debian`."),
    "tag": attr.string(
        doc = """The tag that the digest was read from, such as `stable`. It is for people and for what moves digests,
such as `pin` and Renovate: a pull is by digest alone. An image on this base names it in an annotation.""",
    ),
    "_tool": attr.label(default = Label("@oci_pull_all_tool//:BUILD.bazel")),
}

REFERRERS_ATTRS = {
    "referrers": attr.bool(
        doc = """Whether to pull what refers to the image and to its index as well: signatures, SBOMs and
attestations (OCI distribution spec, "Listing Referrers"). They are in the layouts of the pulled base itself, in which
`oras discover --oci-layout` finds them, and not in those of images built on it, which are other images.

The digest says nothing of them: what was pushed since comes with the next fetch of the repository.""",
    ),
}

def image_name(attrs):
    """The image's name without tag and digest.

    Args:
      attrs: what has the attributes `image`, `registry` and `repository`.

    Returns:
      A string, empty if the attributes do not name one image.
    """
    if attrs.image:
        return "" if attrs.registry or attrs.repository else attrs.image
    if attrs.registry and attrs.repository:
        return attrs.registry + "/" + attrs.repository
    return ""

# What every pulled repository has beside the target of its own name.
_RESERVED_NAMES = ["blobs", "files", "index.json", "oci-layout"]

def check_name(name):
    """Tells what is wrong with the name of a pulled repository, after which its target is called.

    Args:
      name: the name.

    Returns:
      None, or a message that says what to change.
    """
    if name in _RESERVED_NAMES:
        return "every pulled repository has something else of this name: choose another"
    return None

def check_pull(attrs):
    """Tells what is wrong with the attributes of a pull, but for its digest.

    Args:
      attrs: what has the attributes of PULL_ATTRS.

    Returns:
      None, or a message that says what to change.
    """
    name = image_name(attrs)
    if not name:
        return "the image is not named clearly: give either image = \"docker.io/library/debian\", or registry = \"docker.io\" and repository = \"library/debian\""
    last = name.split("/")[-1]
    if "@" in name or ":" in last:
        return "{} has a tag or a digest: write the name alone, and in the attributes tag and digest what {} prints".format(repr(name), _resolve(name))
    if attrs.tag and not _is_tag(attrs.tag):
        return "{} is not a tag: a tag has up to 128 letters, digits and \"._-\", and begins with none of \".-\"".format(repr(attrs.tag))
    for platform in attrs.platforms:
        problem = check_platform(platform)
        if problem:
            return problem
    return None

def check_owner(attrs, is_root):
    """Tells whether a module may declare a pull as it does: where credentials go is the root module's matter.

    Args:
      attrs: what has the attributes of PULL_ATTRS.
      is_root: whether the root module declares it.

    Returns:
      None, or a message that says what to change.
    """
    if is_root:
        return None
    in_clear = [mirror for mirror in attrs.mirrors if mirror.startswith("http://")]
    for name, value in {
        "a mirror that is spoken to in clear": in_clear,
        "docker_config": attrs.docker_config,
        "plain_http": attrs.plain_http,
    }.items():
        if value:
            return "only the root module may set {}, because it decides where credentials go: leave it out, and let the root module declare this pull".format(name)
    return None

def check_digest(attrs):
    """Tells what is wrong with the digest of a pull.

    It is looked at when the repository is fetched, and not by the module extension, which has to work for `pin` to
    put a digest there.

    Args:
      attrs: what has the attributes of PULL_ATTRS, for which check_pull finds nothing.

    Returns:
      None, or a message that says what to change.
    """
    algorithm, _, hex = attrs.digest.partition(":")
    digits = {"sha256": 64, "sha512": 128}.get(algorithm)
    if digits != None and len(hex) == digits and not [c for c in hex.elems() if c not in "0123456789abcdef"]:
        return None

    # Nothing at all, or a digest without its algorithm, is no tag either.
    tag = attrs.tag or ("TAG" if ":" in attrs.digest or len(attrs.digest) in (0, 64) else attrs.digest)
    return "{} is not a digest: write \"sha256:\" and 64 lower-case hex digits, which {} prints; or set tag, and `bazel run @oci_pull_all//:pin` writes them".format(
        repr(attrs.digest),
        _resolve(image_name(attrs) + ":" + tag),
    )

def _resolve(reference):
    return "`bazel run @oci_pull_all//oci:oci-pull-all -- resolve {}`".format(reference)

_TAG = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"

def _is_tag(text):
    return len(text) <= 128 and text[0] not in ".-" and not [c for c in text.elems() if c not in _TAG]
