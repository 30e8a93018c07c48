"""The module extension that declares images and artifacts."""

load("//oci/private/repositories:oci_pull.bzl", "oci_pull")
load("//oci/private/repositories:oci_pull_all.bzl", "oci_pull_all")
load("//oci/private/repositories:pins.bzl", "PINS", "pins")
load("//oci/private/repositories:pull.bzl", "PULLED_TOOLCHAINS")
load("//oci/private/repositories:pull_attrs.bzl", "PULL_ATTRS", "REFERRERS_ATTRS", "check_name", "check_owner", "check_pull", "image_name")
load("//oci/private/repositories:pulled_toolchains.bzl", "pulled_toolchains")

_TAG_ATTRS = [name for name in PULL_ATTRS if not name.startswith("_")]

# A tag is for people, and the small repository alone tells it on: another one fetches no layer again.
_ATTRS = [name for name in _TAG_ATTRS if name != "tag"]

def _oci_impl(mctx):
    # The attribute is there only where Bazel knows such usages.
    if getattr(mctx, "is_isolated", False):
        fail("use_extension(..., isolate = True): neither pin nor the toolchains that bring layers see what is declared so; leave isolate out")
    declared = {}
    owners = {}
    direct = []
    direct_dev = []
    pinned = []
    for module in mctx.modules:
        where = "{}@{}".format(module.name, module.version) if module.version else (module.name or "the root module")
        if module.is_root and module.name == "oci_pull_all":
            direct += [PULLED_TOOLCHAINS, PINS]
        for tag in module.tags.pull:
            if module.is_root:
                (direct_dev if mctx.is_dev_dependency(tag) else direct).append(tag.name)
                pinned.append(_pin(tag))
            problem = check_name(tag.name) or check_pull(tag) or check_owner(tag, module.is_root)
            if tag.name in [PULLED_TOOLCHAINS, PINS]:
                problem = "the extension keeps this name for itself: choose another"
            if problem:
                fail("oci.pull(name = {}) in {}: {}".format(repr(tag.name), where, problem))
            attrs = {name: getattr(tag, name) for name in _ATTRS}
            all_attrs = {name: getattr(tag, name) for name in REFERRERS_ATTRS}
            for name in [tag.name, tag.name + "_all"]:
                if owners.get(name, tag.name) != tag.name:
                    fail("oci.pull(name = {}) in {} makes the repository {}, and so does oci.pull(name = {}) in {}: give one of them another name".format(
                        repr(tag.name),
                        where,
                        repr(name),
                        repr(owners[name]),
                        declared[owners[name]].where,
                    ))
            if tag.name in declared:
                other = declared[tag.name]
                if other.where == where or other.attrs != attrs or other.all_attrs != all_attrs:
                    fail("oci.pull(name = {}) stands twice, in {} and in {}: give one of them another name, and in use_repo too".format(
                        repr(tag.name),
                        other.where,
                        where,
                    ))
                continue
            declared[tag.name] = struct(all_attrs = all_attrs, attrs = attrs, tag = tag.tag, where = where)
            owners[tag.name] = tag.name
            owners[tag.name + "_all"] = tag.name
    for name, pull in declared.items():
        oci_pull_all(name = name + "_all", **(pull.attrs | pull.all_attrs))
        oci_pull(name = name, on_demand = True, tag = pull.tag, **pull.attrs)
    pulled_toolchains(name = PULLED_TOOLCHAINS, bases = declared.keys())
    pins(name = PINS, pins = json.encode_indent(pinned))
    return mctx.extension_metadata(
        reproducible = True,
        root_module_direct_deps = direct,
        root_module_direct_dev_deps = direct_dev,
    )

def _pin(tag):
    """What `pin` has to know of a pull of the root module."""
    return {
        "digest": tag.digest,
        "docker_config": str(tag.docker_config) if tag.docker_config else "",
        "image": image_name(tag),
        "name": tag.name,
        "plain_http": tag.plain_http,
        "platforms": tag.platforms,
        "tag": tag.tag,
    }

_pull = tag_class(
    doc = """Declares an image or an artifact.

It makes two repositories: `@NAME`, with manifests and configs, and `@NAME_all`, with everything, which Bazel fetches
only when something needs it. Only `@NAME` is to be in `use_repo`: `bazel mod tidy` puts it there.

`@NAME` of an image is `base` of `oci_image`, `image` of `oci_image_layout` and so on; a layout needs the base's
layers. `@NAME` of an artifact is `artifact` of `oci_artifact_files`; `@NAME//:files` is all its files.""",
    attrs = {name: PULL_ATTRS[name] for name in _TAG_ATTRS} | REFERRERS_ATTRS | {
        "name": attr.string(doc = "The repository's name.", mandatory = True),
    },
)

oci = module_extension(
    implementation = _oci_impl,
    doc = "Declares images and artifacts by `oci.pull`.",
    tag_classes = {"pull": _pull},
)
