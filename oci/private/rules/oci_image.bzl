"""The rule for an image."""

load("//oci/private/common:arguments.bzl", "tool_arguments")
load("//oci/private/common:image_input.bzl", "CHOICE_PROVIDERS", "choose_image")
load("//oci/private/common:pairs.bzl", "pairs")
load("//oci/private/common:platforms.bzl", "platform_to_string")
load("//oci/private/common:pulled_infos.bzl", "pulled_info")
load("//oci/private/common:toolchain.bzl", "TOOLCHAIN_TYPE", "get_tool")
load("//oci/private/common:transitions.bzl", "pull_all_off")
load("//oci/private/providers:image.bzl", "OCIDescriptorInfo", "OCIImageInfo", "OCIPlatformInfo")
load("//oci/private/providers:layers.bzl", "OCILayersInfo")
load("//oci/private/providers:pulled_image.bzl", "OCIPulledImageInfo")
load(":image_tars.bzl", "image_tars")

def _oci_image_impl(ctx):
    platform = _wanted_platform(ctx)
    base = None
    if ctx.attr.base:
        base = choose_image(
            ctx.label,
            ctx.attr.base,
            platform,
            "base",
            "Set os, architecture and variant to one of these, or build for such a platform with --platforms.",
        )
    layers = []
    for target in ctx.attr.layers:
        layers += target[OCILayersInfo].layers if OCILayersInfo in target else [target[OCIDescriptorInfo]]

    manifest = ctx.actions.declare_file(ctx.label.name + ".manifest.json")
    config = ctx.actions.declare_file(ctx.label.name + ".config.json")
    descriptor = ctx.actions.declare_file(ctx.label.name + ".descriptor.json")
    digest = ctx.actions.declare_file(ctx.label.name + ".digest")
    inputs = [layer.descriptor for layer in layers]
    arguments = tool_arguments(ctx, "image")
    if base:
        arguments.add("--base-manifest", base.manifest)
        arguments.add("--base-config", base.config)
        inputs += [base.manifest, base.config]
        platform = base.platform
        if base.pulled_from and ctx.attr.base_annotations:
            arguments.add("--base-digest", base.pulled_from.digest)
            if base.pulled_from.tag:
                arguments.add("--base-name", base.pulled_from.repository + ":" + base.pulled_from.tag)

    # The base's config must not tell of another platform than its index.
    arguments.add("--platform", platform_to_string(platform))
    arguments.add_all([layer.descriptor for layer in layers], before_each = "--layer")
    for name, words in [("entrypoint", ctx.attr.entrypoint), ("cmd", ctx.attr.cmd)]:
        arguments.add_all(words, format_each = "--" + name + "=%s")
        if not words and name in ctx.attr.said:
            arguments.add("--clear-" + name)
    arguments.add_all(pairs(ctx, "env"), format_each = "--env=%s")
    arguments.add_all(pairs(ctx, "labels"), format_each = "--label=%s")
    arguments.add_all(pairs(ctx, "annotations"), format_each = "--annotation=%s")
    arguments.add_all(ctx.attr.exposed_ports, format_each = "--exposed-port=%s")
    arguments.add_all(ctx.attr.volumes, format_each = "--volume=%s")
    arguments.add_all(ctx.attr.shell, format_each = "--shell=%s")
    arguments.add_all(ctx.attr.healthcheck, format_each = "--healthcheck=%s")
    arguments.add_all(pairs(ctx, "healthcheck_options"), format_each = "--healthcheck-option=%s")
    for flag, files in [
        ("--env-file=%s", ctx.files.env_files),
        ("--label-file=%s", ctx.files.label_files),
        ("--annotation-file=%s", ctx.files.annotation_files),
    ]:
        arguments.add_all(files, format_each = flag)
        inputs += files
    for flag, value in [
        ("--user=%s", ctx.attr.user),
        ("--workdir=%s", ctx.attr.workdir),
        ("--stop-signal=%s", ctx.attr.stop_signal),
        ("--author=%s", ctx.attr.author),
        ("--created=%s", ctx.attr.created),
    ]:
        if value:
            arguments.add(value, format = flag)
    arguments.add("--manifest", manifest)
    arguments.add("--config", config)
    arguments.add("--descriptor", descriptor)
    arguments.add("--digest", digest)
    ctx.actions.run(
        executable = get_tool(ctx),
        arguments = [arguments],
        inputs = inputs,
        outputs = [manifest, config, descriptor, digest],
        mnemonic = "OCIImage",
        progress_message = "Building image %{label}",
        toolchain = TOOLCHAIN_TYPE,
    )

    all_layers = depset(layers, transitive = [base.layers] if base else [], order = "preorder")
    return [
        DefaultInfo(files = depset([manifest, config])),
        OutputGroupInfo(descriptor = depset([descriptor]), digest = depset([digest])),
        OCIImageInfo(
            pulled_digest = base.pulled_digest if base else None,
            pulled_from = base.pulled_from if base else None,
            config = config,
            descriptor = descriptor,
            layers = all_layers,
            manifest = manifest,
            platform = platform,
        ),
    ] + (_pulled(ctx, base) if base else [])

def _wanted_platform(ctx):
    target = ctx.attr._target_platform[OCIPlatformInfo]
    if not ctx.attr.os and not ctx.attr.architecture and not ctx.attr.variant:
        if not target.architecture:
            fail("{}: the target platform has no processor constraint that oci_pull_all knows: set os and architecture".format(ctx.label))
        return target
    if not ctx.attr.os or not ctx.attr.architecture:
        fail("{}: os and architecture must be set both, or neither, in which case the target platform counts".format(ctx.label))
    return OCIPlatformInfo(
        os = ctx.attr.os,
        architecture = ctx.attr.architecture,
        variant = ctx.attr.variant,
    )

def _pulled(ctx, base):
    """The blobs that the base's image stands on, from pulled_base or from the base itself."""
    source = ctx.attr.pulled_base
    if not source and OCIPulledImageInfo in ctx.attr.base:
        source = ctx.attr.base
    return pulled_info(ctx.label, source[OCIPulledImageInfo] if source else None, base.pulled_digest)

_oci_image = rule(
    implementation = _oci_image_impl,
    attrs = {
        "annotation_files": attr.label_list(allow_files = True),
        "annotations": attr.string_dict(),
        "architecture": attr.string(),
        "author": attr.string(),
        "base": attr.label(providers = CHOICE_PROVIDERS),
        "base_annotations": attr.bool(),
        "cmd": attr.string_list(),
        "created": attr.string(),
        "entrypoint": attr.string_list(),
        "env": attr.string_dict(),
        "env_files": attr.label_list(allow_files = True),
        "exposed_ports": attr.string_list(),
        "healthcheck": attr.string_list(),
        "healthcheck_options": attr.string_dict(),
        "label_files": attr.label_list(allow_files = True),
        "labels": attr.string_dict(),
        "layers": attr.label_list(providers = [[OCIDescriptorInfo], [OCILayersInfo]], cfg = pull_all_off),
        "os": attr.string(),
        "pulled_base": attr.label(providers = [OCIPulledImageInfo]),
        "said": attr.string_list(doc = "The lists of words that the image is given, which may be empty."),
        "shell": attr.string_list(),
        "stop_signal": attr.string(),
        "user": attr.string(),
        "variant": attr.string(),
        "volumes": attr.string_list(),
        "workdir": attr.string(),
        "_target_platform": attr.label(default = Label("//oci:target_platform")),
    },
    provides = [OCIImageInfo],
    toolchains = [TOOLCHAIN_TYPE],
)

def oci_image(
        name,
        base = None,
        pulled_base = None,
        layers = [],
        tars = [],
        entrypoint = None,
        cmd = None,
        env = {},
        labels = {},
        annotations = {},
        user = "",
        workdir = "",
        exposed_ports = [],
        volumes = [],
        stop_signal = "",
        shell = [],
        healthcheck = [],
        healthcheck_options = {},
        author = "",
        created = "",
        env_files = [],
        label_files = [],
        annotation_files = [],
        tars_compression = "",
        base_annotations = True,
        os = "",
        architecture = "",
        variant = "",
        **kwargs):
    """Makes an image of layers on a base (OCI image spec, manifest.md and config.md).

    It costs nothing of the base's layers: only the base's manifest and config are read. Provides
    OCIImageInfo, and OCIPulledImageInfo where `oci_image_layout` depends on it. Output groups: `descriptor`, the manifest's
    content descriptor as JSON, and `digest`, its digest in one line.

    The base's image for the wanted platform is chosen as containerd does: that of `os`, `architecture`
    and `variant` if set, or else that of the target platform.

    Args:
      name: the target's name.
      base: the label of a pulled base (`@NAME`), or of another `oci_image` or `oci_image_index`: its image that
        fits the platform best, and of several that fit alike the first. Without it the image has only its own layers.
      pulled_base: the label of an `oci_pull_all` repository of the same image as `base`, when `base` was
        pulled by the repository rule `oci_pull`. It is fetched only for what needs layers. A base that
        the module extension's `oci.pull` declared needs none.
      layers: labels of `oci_image_layer` and `oci_program_layers` targets, the lowest first.
      tars: labels of tar archives, each of which becomes a layer above `layers`. One that is plain or compressed by
        gzip or zstd keeps its bytes; one in a Debian package, or compressed by xz, is compressed anew. A Debian package is
        also recorded for scanners, as by `oci_image_layer`.
      entrypoint: the words of the entry point. It drops the base's `cmd`. An empty list drops both.
      cmd: the words of the command, which are the entry point's default arguments. An empty list drops the base's.
      env: dict of environment variables, added to the base's. `$NAME` and `${NAME}` in a value stand for
        the base's variables, such as `"PATH": "/app:$PATH"`, and `$$` or `\\$` for a dollar sign. `${NAME:-WORD}`,
        `${NAME:+WORD}`, `${NAME:?WORD}` and the same without the colon mean what they do in a Dockerfile; other forms
        are errors.
      labels: dict of labels of the config, added to the base's.
      annotations: dict of annotations of the manifest.
      user: `USER[:GROUP]`, by name or number, that runs the command.
      workdir: the directory in which the command runs. A relative one stands on the base's.
      exposed_ports: ports that the command listens on, such as `8080`, `53/udp` or `8000-8010`.
      volumes: directories for data that outlives a container.
      stop_signal: the signal that ends the command, such as `SIGTERM` or `15`.
      shell: the words of the shell that runs commands which are one text, as Docker has it.
      healthcheck: the words of the check by which Docker knows whether a container works: `CMD` and the words of a
        command, `CMD-SHELL` and one text, or `NONE`.
      healthcheck_options: dict of how it is made: `interval`, `timeout`, `start_period` and `start_interval`, as
        times such as `1m30s` or `1.5s`, and `retries`.
      author: who made the image.
      created: when the image was made, as RFC 3339 writes it, such as `2024-05-06T07:08:09Z`. By default the base's time,
        or 1970 without a base.
      env_files: labels of files with a variable on each line, `NAME=VALUE`, which count as if they stood before those of
        `env`, and in which `$` means what it means there, which it does not in a file for `docker run --env-file`.
        Lines that are empty or begin with `#` count for nothing. A rule that stamps can write such a file.
      label_files: labels of files with labels, in the same way.
      annotation_files: labels of files with annotations, in the same way.
      tars_compression: the compression of the layers that `tars` become, `gzip`, `zstd` or `none`, if they are not to stay
        as they are.
      base_annotations: whether the manifest says on which pulled image it stands: its digest, in
        `org.opencontainers.image.base.digest`, and where the pull has a tag its name, in `org.opencontainers.image.base.name`.
      os: `GOOS` of the image, such as `linux`; together with `architecture`.
      architecture: `GOARCH` of the image, such as `arm64`; together with `os`.
      variant: the processor's variant, such as `v8`.
      **kwargs: attributes that all rules have, such as `visibility`.
    """
    if pulled_base:
        # A plain dependency would fetch the base's layers for the image alone.
        pulled_base = select({
            Label("//oci:pull_all_enabled"): pulled_base,
            "//conditions:default": None,
        })
    if tars:
        image_tars(
            name = name + ".tars",
            compression = tars_compression,
            tars = tars,
            visibility = ["//visibility:private"],
            **{key: value for key, value in kwargs.items() if key != "visibility"}
        )
        layers = layers + [name + ".tars"]
    _oci_image(
        name = name,
        annotation_files = annotation_files,
        annotations = annotations,
        architecture = architecture,
        author = author,
        base = base,
        base_annotations = base_annotations,
        cmd = cmd,
        created = created,
        entrypoint = entrypoint,
        env = env,
        env_files = env_files,
        exposed_ports = exposed_ports,
        healthcheck = healthcheck,
        healthcheck_options = healthcheck_options,
        label_files = label_files,
        labels = labels,
        layers = layers,
        os = os,
        pulled_base = pulled_base,
        said = [name for name, words in [("entrypoint", entrypoint), ("cmd", cmd)] if words != None],
        shell = shell,
        stop_signal = stop_signal,
        user = user,
        variant = variant,
        volumes = volumes,
        workdir = workdir,
        **kwargs
    )
