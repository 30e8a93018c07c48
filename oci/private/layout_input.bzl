"""How a rule takes an image layout."""

def layout_input(target):
    """Finds the layout of a target.

    Args:
      target: a target with one directory, such as an `oci_image_layout`.

    Returns:
      A struct with `layout`, the File, and `inputs`, a depset of the files that an action or a test that
      reads the layout needs: a linked layout's blobs are among them.
    """
    files = target[DefaultInfo].files.to_list()
    if len(files) != 1:
        fail("{} has {} files, but an image layout is one directory, such as an oci_image_layout".format(
            target.label,
            len(files) or "no",
        ))
    return struct(
        layout = files[0],
        inputs = depset(files, transitive = [target[DefaultInfo].default_runfiles.files]),
    )

LAYOUT_DOC = "The image layout: an `oci_image_layout`, or another target with one directory that is one."
