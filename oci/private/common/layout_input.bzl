"""How a rule takes an image layout."""

load("//oci/private/providers:layout.bzl", "OCILayoutInfo")
load("//oci/private/providers:rootfs.bzl", "OCIRootfsInfo")
load(":image_input.bzl", "image_input")

def single_input(label, target):
    """Finds the one file or directory of a target.

    Args:
      label: the label of the target that takes it.
      target: a target with one file or directory.

    Returns:
      A struct with `path`, the File, and `inputs`, a depset of the files that an action or a test that
      reads it needs: a linked layout's blobs are among them.
    """
    if image_input(target):
        fail("{}: {} is an image and not a layout: make an oci_image_layout of it, and name that".format(
            label,
            target.label,
        ))
    files = target[DefaultInfo].files.to_list()
    if OCILayoutInfo in target:
        files = [target[OCILayoutInfo].directory]
    if len(files) != 1:
        fail("{}: {} has {} files, but one is wanted, such as the directory of an oci_image_layout".format(
            label,
            target.label,
            len(files) or "no",
        ))
    return struct(
        inputs = depset(files, transitive = [target[DefaultInfo].default_runfiles.files]),
        path = files[0],
    )

def layout_input(ctx):
    """Finds the layout that the attribute `layout` names.

    Args:
      ctx: the context of a rule with `layout = LAYOUT_ATTR` among its attributes.

    Returns:
      As single_input.
    """
    return layout_of(ctx.label, ctx.attr.layout)

def layout_of(label, target):
    """Finds the layout of a target.

    Args:
      label: the label of the target that takes it.
      target: the target.

    Returns:
      As single_input.
    """
    found = single_input(label, target)

    # Whether a source is a directory is not known before it is read.
    if OCIRootfsInfo in target or not (found.path.is_directory or found.path.is_source):
        fail("{}: {} is {}, which is not a directory, as an image layout is: name an oci_image_layout".format(
            label,
            target.label,
            found.path.short_path,
        ))
    return found

# In which forms a scanner may get what is in a layout.
LAYOUT_FORMS = ["docker-archive", "layout", "oci-archive", "registry", "rootfs"]

LAYOUT_ATTR = attr.label(
    doc = "The image layout: an `oci_image_layout`, or another target with one directory that is one.",
    mandatory = True,
    allow_files = True,
)
