"""Kinds of tests of what a target is after analysis."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load(
    "//oci:providers.bzl",
    "OCIDescriptorInfo",
    "OCIImageIndexInfo",
    "OCIImageInfo",
    "OCIPulledImageInfo",
    "OCIRootfsInfo",
    "OCIScanInfo",
)
load("//oci/private/common:platforms.bzl", "platform_to_string")

# A build that has a scanner.
_SCANNING = {str(Label("//oci:scanner")): str(Label(":scanner"))}

def _failure_test_impl(ctx):
    env = analysistest.begin(ctx)
    for message in ctx.attr.messages:
        asserts.expect_failure(env, message)
    return analysistest.end(env)

# The analysis of the target fails, and says this.
failure_test = analysistest.make(
    _failure_test_impl,
    attrs = {"messages": attr.string_list(mandatory = True)},
    expect_failure = True,
)

# The same where the build has a scanner.
failing_scan_test = analysistest.make(
    _failure_test_impl,
    attrs = {"messages": attr.string_list(mandatory = True)},
    config_settings = _SCANNING,
    expect_failure = True,
)

# The same for a processor that nobody knows.
failure_on_unknown_processor_test = analysistest.make(
    _failure_test_impl,
    attrs = {"messages": attr.string_list(mandatory = True)},
    config_settings = {"//command_line_option:platforms": [str(Label(":unknown_processor"))]},
    expect_failure = True,
)

# The same where a generator of SBOMs is registered.
failing_sbom_test = analysistest.make(
    _failure_test_impl,
    attrs = {"messages": attr.string_list(mandatory = True)},
    config_settings = {"//command_line_option:extra_toolchains": [str(Label(":generator_toolchain"))]},
    expect_failure = True,
)

def _scan_test_impl(ctx):
    env = analysistest.begin(ctx)
    images = analysistest.target_under_test(env)[OCIScanInfo].images
    platforms = [platform_to_string(image.platform) if image.platform else "" for image in images]
    asserts.equals(env, ctx.attr.platforms, platforms)
    for image in images:
        asserts.equals(env, ctx.attr.bases, [base.labels[0].name for base in image.bases])
    return analysistest.end(env)

# The target is scanned for these platforms, each on such bases.
scan_test = analysistest.make(
    _scan_test_impl,
    attrs = {
        "bases": attr.string_list(),
        "platforms": attr.string_list(mandatory = True),
    },
    config_settings = _SCANNING,
)

def _action_test_impl(ctx):
    env = analysistest.begin(ctx)
    actions = [action for action in analysistest.target_actions(env) if action.mnemonic == ctx.attr.mnemonic]
    asserts.equals(env, 1, len(actions), "{} among {}".format(
        ctx.attr.mnemonic,
        [action.mnemonic for action in analysistest.target_actions(env)],
    ))
    if actions:
        names = [file.basename for file in actions[0].inputs.to_list()]
        for name in ctx.attr.inputs:
            asserts.true(env, name in names, "{} is not in {}".format(name, names))
        for name in ctx.attr.no_inputs:
            asserts.false(env, name in names, "{} is in {}".format(name, names))
        asserts.equals(env, ctx.attr.outputs, [file.basename for file in actions[0].outputs.to_list()])
    return analysistest.end(env)

# The target has one action of this mnemonic, with such inputs and these outputs.
action_test = analysistest.make(
    _action_test_impl,
    attrs = {
        "inputs": attr.string_list(),
        "mnemonic": attr.string(mandatory = True),
        "no_inputs": attr.string_list(),
        "outputs": attr.string_list(mandatory = True),
    },
)

def _runfiles_test_impl(ctx):
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    names = [file.basename for file in target[DefaultInfo].default_runfiles.files.to_list()]
    for name in ctx.attr.names:
        asserts.true(env, name in names, "{} is not in {}".format(name, names))
    for name in ctx.attr.no_names:
        asserts.false(env, name in names, "{} is in {}".format(name, names))
    asserts.equals(
        env,
        target.label.package + "/" + target.label.name + ".arguments",
        target[RunEnvironmentInfo].environment["OCI_PULL_ALL_ARGUMENTS"],
    )
    return analysistest.end(env)

# The target runs the tool with arguments of its own, and has such files beside it.
runfiles_test = analysistest.make(
    _runfiles_test_impl,
    attrs = {
        "names": attr.string_list(mandatory = True),
        "no_names": attr.string_list(),
    },
)

def _requirements_test_impl(ctx):
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    asserts.equals(env, ctx.attr.requirements, target[testing.ExecutionInfo].requirements.keys())
    return analysistest.end(env)

# The target is a test that tells Bazel these requirements.
requirements_test = analysistest.make(
    _requirements_test_impl,
    attrs = {"requirements": attr.string_list(mandatory = True)},
)

def _image_test_impl(ctx):
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    images = target[OCIImageIndexInfo].images if OCIImageIndexInfo in target else [target[OCIImageInfo]]
    asserts.equals(env, ctx.attr.platforms, [platform_to_string(image.platform) for image in images])
    for image in images:
        asserts.equals(env, ctx.attr.layers, [layer.blob.basename for layer in image.layers.to_list()])
        asserts.equals(env, ctx.attr.pulled_digest, image.pulled_digest or "")
    asserts.equals(env, ctx.attr.pulled, OCIPulledImageInfo in target)
    return analysistest.end(env)

_IMAGE_ATTRS = {
    "layers": attr.string_list(),
    "platforms": attr.string_list(mandatory = True),
    "pulled": attr.bool(),
    "pulled_digest": attr.string(),
}

# The target is such an image, or an index of such images.
image_test = analysistest.make(_image_test_impl, attrs = _IMAGE_ATTRS)

# The same where bases come with all their layers.
whole_image_test = analysistest.make(
    _image_test_impl,
    attrs = _IMAGE_ATTRS,
    config_settings = {str(Label("//oci:pull_all")): True},
)

def _layer_test_impl(ctx):
    env = analysistest.begin(ctx)
    target = analysistest.target_under_test(env)
    asserts.equals(env, ctx.attr.blob, target[OCIDescriptorInfo].blob.basename)
    asserts.equals(env, [target[OCIDescriptorInfo].blob], target[DefaultInfo].files.to_list())
    return analysistest.end(env)

# The target is a layer with this blob.
layer_test = analysistest.make(
    _layer_test_impl,
    attrs = {"blob": attr.string(mandatory = True)},
)

def _rootfs_test_impl(ctx):
    env = analysistest.begin(ctx)
    info = analysistest.target_under_test(env)[OCIRootfsInfo]
    asserts.equals(env, ctx.attr.layout, info.layout.label.name)
    asserts.equals(env, ctx.attr.platform, info.platform)
    return analysistest.end(env)

# The target is the root file system of such a layout.
rootfs_test = analysistest.make(
    _rootfs_test_impl,
    attrs = {
        "layout": attr.string(mandatory = True),
        "platform": attr.string(),
    },
)
