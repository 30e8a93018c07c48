"""Transitions: whether bases come with all their layers, and what platforms images are for."""

_PULL_ALL = str(Label("//oci:pull_all"))
_REQUIRE_SCAN = str(Label("//oci:require_scan"))
_PLATFORMS = "//command_line_option:platforms"

def _layout_impl(settings, attr):
    platforms = [str(attr.platform)] if attr.platform else settings[_PLATFORMS]
    return {_PLATFORMS: platforms, _PULL_ALL: True}

# oci_image_layout puts it on the image, whose base then brings its layers.
layout_transition = transition(
    implementation = _layout_impl,
    inputs = [_PLATFORMS],
    outputs = [_PLATFORMS, _PULL_ALL],
)

def _pull_all_on_impl(_settings, _attr):
    return {_PULL_ALL: True}

# oci_complete_layout puts it on the base alone: what builds the layout must not be built twice.
pull_all_on = transition(
    implementation = _pull_all_on_impl,
    inputs = [],
    outputs = [_PULL_ALL],
)

def _pull_all_off_impl(_settings, _attr):
    return {_PULL_ALL: False}

# oci_image puts it on the layers, which are thereby the same targets in both configurations and are
# built once.
pull_all_off = transition(
    implementation = _pull_all_off_impl,
    inputs = [],
    outputs = [_PULL_ALL],
)

def _push_impl(settings, _attr):
    pushed = {"pushed": {_PULL_ALL: False}}
    return (pushed | {"scanned": {_PULL_ALL: True}}) if settings[_REQUIRE_SCAN] else pushed

# oci_push puts it on the image: what is pushed needs no layer of a base, and what is scanned needs them all.
push_transition = transition(
    implementation = _push_impl,
    inputs = [_REQUIRE_SCAN],
    outputs = [_PULL_ALL],
)

def _each_platform_impl(settings, attr):
    if not attr.platforms:
        return {"": {_PLATFORMS: settings[_PLATFORMS]}}

    # Keys that sort as the user has ordered the platforms.
    return {
        str(10000 + number): {_PLATFORMS: [str(platform)]}
        for number, platform in enumerate(attr.platforms)
    }

# oci_image_index puts it on the images, each of which is then there once for each platform.
each_platform = transition(
    implementation = _each_platform_impl,
    inputs = [_PLATFORMS],
    outputs = [_PLATFORMS],
)

def single(value):
    """The target of an attribute that takes one label and has a transition.

    Args:
      value: the attribute's value, which is a list of one target where Bazel takes any transition for a split.

    Returns:
      A Target.
    """
    return value[0] if type(value) == "list" else value
